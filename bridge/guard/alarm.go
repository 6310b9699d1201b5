package guard

import (
	"log/slog"
	"sync"
	"time"
)

// alarm is something that the admins were told: until it is over, or until a time.
type alarm struct {
	text  string
	until time.Time // zero: until it is over
}

// alarms tells the admins of each matter once in alarmEvery; of what is still so, word
// for word, once in alarmStill.
type alarms struct {
	tell func(string)
	log  *slog.Logger

	mu   sync.Mutex // guards told
	told map[string]time.Time
}

const (
	alarmEvery = 10 * time.Minute
	alarmStill = 12 * time.Hour
	// eventShown is how long status shows what happened once.
	eventShown = time.Hour
	maxAlarms  = 1024 // matters remembered; more begin anew
)

// raise tells text, unless the same matter was told lately. still says that it was the
// same before, and has not ended since.
func (a *alarms) raise(matter, text string, still bool, now time.Time) {
	rest := alarmEvery
	if still {
		rest = alarmStill
	}
	a.mu.Lock()
	at, known := a.told[matter]
	if known && now.Sub(at) < rest && !now.Before(at) {
		a.mu.Unlock()
		return
	}
	if len(a.told) >= maxAlarms {
		clear(a.told)
	}
	a.told[matter] = now
	a.mu.Unlock()
	a.log.Error("guard alarm", "rule", matter, "err", text)
	if a.tell != nil {
		a.tell(text)
	}
}

// over forgets a matter: should it come again, it is told at once.
func (a *alarms) over(matter string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.told, matter)
}
