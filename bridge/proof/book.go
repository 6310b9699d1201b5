package proof

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of a Book.
const (
	MaxEach  = 3    // tickets that one who asks may have open
	MaxAll   = 1024 // tickets that are open in all
	MaxAsks  = 10   // asked for by one in Per
	MaxTries = 10   // wrong answers of one in Per
	Per      = 10 * time.Minute

	maxRates = 4096 // of whom it is remembered how often they asked
	maxPast  = 256  // tickets of which it is remembered how they ended
	pastKept = time.Hour
)

// Errors of a Book, with what to tell people.
var (
	ErrUnknown = errors.New("proof: no such nonce or code is open")
	ErrLate    = errors.New("proof: its time is over")
	ErrUsed    = errors.New("proof: it was used already")
	ErrMany    = errors.New("proof: too many are open")
	ErrOften   = errors.New("proof: too often in a short time")
)

// Book holds the open tickets. It is not safe for concurrent use.
type Book struct {
	random io.Reader
	open   map[string]Ticket
	past   []past
	rates  map[string]*rate
}

// past is a ticket that ended.
type past struct {
	ticket Ticket
	used   bool
	at     time.Time
}

// rate is how often somebody asked, and answered wrongly.
type rate struct{ asks, tries []time.Time }

// NewBook returns an empty book. Codes come from random; nil is crypto/rand.
func NewBook(random io.Reader) *Book {
	if random == nil {
		random = rand.Reader
	}
	return &Book{random: random, open: map[string]Ticket{}, rates: map[string]*rate{}}
}

// Load takes over what an earlier process kept, and returns the IDs of those whose
// time is over.
func (b *Book) Load(kept []Ticket, now time.Time) (over []string) {
	for _, t := range kept {
		if t.Open(now) && len(b.open) < MaxAll {
			b.open[t.ID] = t
			continue
		}
		b.end(t, false, now)
		over = append(over, t.ID)
	}
	return over
}

// Ask opens a ticket for what t says, and returns it with its code. One that is open
// for the same thing is replaced: it keeps its ID, and its old code counts no more.
// Errors: ErrMany, ErrOften.
func (b *Book) Ask(t Ticket, now time.Time) (Ticket, string, error) {
	r := b.rate(t.By, now)
	if len(r.asks) >= MaxAsks || len(r.tries) >= MaxTries {
		return Ticket{}, "", ErrOften
	}
	return b.put(t, r, now)
}

// put opens a ticket within the bounds.
func (b *Book) put(t Ticket, r *rate, now time.Time) (Ticket, string, error) {
	t.ID = ""
	each := 0
	for id, o := range b.open {
		switch {
		case o.same(&t):
			t.ID = id
		case o.By == t.By:
			each++
		}
	}
	if t.ID == "" && (each >= MaxEach || len(b.open) >= MaxAll) {
		return Ticket{}, "", ErrMany
	}
	code, err := newCode(b.random)
	if err != nil {
		return Ticket{}, "", err
	}
	if t.ID == "" {
		var id [16]byte
		if _, err := io.ReadFull(b.random, id[:]); err != nil {
			return Ticket{}, "", fmt.Errorf("proof: %w", err)
		}
		t.ID = "t" + hex.EncodeToString(id[:])
	}
	// Whole seconds: people sign the time of the end, and signatures have no others.
	t.Hash, t.Made = hashOf(code), now
	t.Until = now.Add(Life).Truncate(time.Second)
	b.open[t.ID] = t
	r.asks = append(r.asks, now)
	return t, code, nil
}

// Next opens the second step of a ticket that was taken: another code, and the time
// that was left. It counts as no new ask.
func (b *Book) Next(t Ticket, now time.Time) (Ticket, string, error) {
	until := t.Until
	t, code, err := b.put(t, &rate{}, now)
	if err == nil && until.After(now) {
		t.Until = until
		b.open[t.ID] = t
	}
	return t, code, err
}

// Find returns the open ticket that has this code, among those that fit. It stays
// open: Take ends it. by is who answers, for the bounds. Errors: ErrUnknown, ErrLate,
// ErrUsed, ErrOften.
func (b *Book) Find(by, code string, fits func(*Ticket) bool, now time.Time) (Ticket, error) {
	if b.Tired(by, now) {
		return Ticket{}, ErrOften
	}
	hash := hashOf(code)
	var found *Ticket
	for _, t := range b.open { // all of them, whichever it is
		if fits(&t) && t.has(hash) {
			found = &t
		}
	}
	switch {
	case found != nil && found.Open(now):
		return *found, nil
	case found != nil:
		return Ticket{}, ErrLate
	}
	b.Wrong(by, now)
	for i := range b.past {
		if p := &b.past[i]; fits(&p.ticket) && p.ticket.has(hash) {
			if p.used {
				return Ticket{}, ErrUsed
			}
			return Ticket{}, ErrLate
		}
	}
	return Ticket{}, ErrUnknown
}

// Tired reports whether somebody has answered wrongly too often.
func (b *Book) Tired(by string, now time.Time) bool { return len(b.rate(by, now).tries) >= MaxTries }

// Wrong counts an answer that had the right code, and was wrong in something else.
func (b *Book) Wrong(by string, now time.Time) {
	r := b.rate(by, now)
	r.tries = append(r.tries, now)
}

// Take ends a ticket that was found. Of all who found it, one is told true.
func (b *Book) Take(t *Ticket, now time.Time) bool {
	if !b.Holds(t) {
		return false
	}
	b.end(b.open[t.ID], true, now)
	return true
}

// End ends the tickets that fit, and returns their IDs.
func (b *Book) End(fits func(*Ticket) bool, now time.Time) (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(b.open)) {
		if t := b.open[id]; fits(&t) {
			b.end(t, false, now)
			ids = append(ids, id)
		}
	}
	return ids
}

// Sweep ends the tickets whose time is over, and returns their IDs.
func (b *Book) Sweep(now time.Time) []string {
	b.past = slices.DeleteFunc(b.past, func(p past) bool { return now.Sub(p.at) > pastKept || now.Before(p.at) })
	for by, r := range b.rates {
		if r.sweep(now); len(r.asks)+len(r.tries) == 0 {
			delete(b.rates, by)
		}
	}
	return b.End(func(t *Ticket) bool { return !t.Open(now) }, now)
}

// Holds reports whether a ticket is open, with the code that it has.
func (b *Book) Holds(t *Ticket) bool {
	o, ok := b.open[t.ID]
	return ok && o.has(t.Hash)
}

// Has reports whether a ticket fits that is open, or ended lately.
func (b *Book) Has(fits func(*Ticket) bool) bool {
	for _, t := range b.open {
		if fits(&t) {
			return true
		}
	}
	return slices.ContainsFunc(b.past, func(p past) bool { return fits(&p.ticket) })
}

func (b *Book) end(t Ticket, used bool, now time.Time) {
	delete(b.open, t.ID)
	if len(b.past) >= maxPast {
		b.past = slices.Delete(b.past, 0, 1)
	}
	b.past = append(b.past, past{t, used, now})
}

// ofPeople begins By of people of the configuration: they are few.
const ofPeople = "person "

// rate returns how often somebody asked lately. Where too many are remembered, who
// comes anew shares one with others: strangers alone, who could keep people out else.
func (b *Book) rate(by string, now time.Time) *rate {
	r := b.rates[by]
	if r == nil && len(b.rates) >= maxRates && !strings.HasPrefix(by, ofPeople) {
		by = ""
		r = b.rates[by]
	}
	if r == nil {
		r = &rate{}
		b.rates[by] = r
	}
	r.sweep(now)
	return r
}

func (r *rate) sweep(now time.Time) {
	old := func(at time.Time) bool { return now.Sub(at) >= Per || now.Before(at) }
	r.asks, r.tries = slices.DeleteFunc(r.asks, old), slices.DeleteFunc(r.tries, old)
}
