package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/internal/config"
)

// clock is a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// statusText tells how guarded rooms are, for people.
func statusText(s *guard.Status) string {
	var out []string
	for i := range s.Rooms {
		out = append(out, roomLines(s, &s.Rooms[i])...)
	}
	if len(s.Rooms) == 0 {
		out = append(out, "no room is guarded")
	}
	if s.Bans > 0 {
		out = append(out, count(s.Bans, "ban")+" in force")
	}
	if s.Acts > 0 || s.Lost > 0 {
		out = append(out, fmt.Sprintf("! the store is slow or fails: for the audit %d wait, %d are lost", s.Acts, s.Lost))
	}
	return strings.Join(out, "\n")
}

// roomState says in few words how a guarded room is.
func roomState(now time.Time, r *guard.RoomStatus) string {
	state := "dry run"
	if r.Armed {
		state = "armed"
	}
	if r.Shut.After(now) {
		state += ", shut until " + clock(r.Shut)
	}
	return state
}

func roomLines(s *guard.Status, r *guard.RoomStatus) []string {
	head := r.Name + ": " + roomState(s.Now, r)
	if len(r.Did) > 0 {
		var did []string
		for _, effect := range slices.Sorted(maps.Keys(r.Did)) {
			did = append(did, fmt.Sprintf("%d %s", r.Did[effect], effect))
		}
		head += ", since the start " + strings.Join(did, ", ")
	}
	out := []string{head}
	for i := range r.Places {
		p := &r.Places[i]
		out = append(out, "  "+p.Room.String()+": "+placeState(p))
		for _, line := range p.Cannot {
			out = append(out, "    cannot be kept here: "+line)
		}
		for _, line := range p.Plan {
			out = append(out, "    to change: "+line)
		}
	}
	for _, line := range r.Alarms {
		out = append(out, "  ! "+line)
	}
	return out
}

// placeWord says in few words how the bot holds a place.
func placeWord(p *guard.PlaceStatus) string {
	switch {
	case !p.Ready:
		return "not joined"
	case p.Acts != "":
		return "watches"
	case p.Looked.IsZero():
		return "not looked at yet"
	case p.Holds && p.ServicesDown:
		return "held, services down"
	case p.Holds:
		return "held"
	}
	return "NOT HELD"
}

func placeState(p *guard.PlaceStatus) string {
	if !p.Ready {
		return "not joined"
	}
	state := "held"
	switch {
	case p.Looked.IsZero():
		state = "not looked at yet"
	case !p.Holds:
		state = "NOT HELD: " + lacks(p)
	}
	state += fmt.Sprintf(", %d there", p.Present)
	if p.Quarantined > 0 {
		state += fmt.Sprintf(", %d in quarantine", p.Quarantined)
	}
	if p.ServicesDown {
		state += ", services are down: nobody is removed for lack of an account"
	}
	if p.Acts != "" {
		state += ", guard " + p.Acts + " acts here and this one watches"
	}
	return state
}

// lacks says what the bot has not that it needs to hold a place.
func lacks(p *guard.PlaceStatus) string {
	if p.Room.Kind == bridge.MUC {
		return "the bot is not owner"
	}
	return "the bot has no op"
}

// guardDoubts lists where a room is not held as the configuration asks: what nobody
// should find out by an intruder.
func guardDoubts(c *config.Config, s *guard.Status) (out []step) {
	told := map[config.Error]bool{}
	for i := range s.Rooms {
		r := &s.Rooms[i]
		for j := range r.Places {
			p := &r.Places[j]
			what := r.Name + " (" + p.Room.String() + ")"
			switch {
			case !p.Ready:
				out = append(out, step{what, bad, "is not guarded: the bot is not there", "drawbridge status says why it cannot join"})
			case !p.Looked.IsZero() && !p.Holds:
				fix := "give the bot op: ChanServ FLAGS CHANNEL BOT +o, or an operator's MODE +o"
				if p.Room.Kind == bridge.MUC {
					fix = "an owner makes the bot's JID owner"
				}
				out = append(out, step{what, bad, "is not held: " + lacks(p), fix})
			}
			for _, e := range c.GuardDoubts(p.Room.Leg, p.Never) {
				if !told[e] {
					told[e] = true
					out = append(out, step{e.Key, note, e.What, e.Fix})
				}
			}
			for _, line := range p.Cannot {
				out = append(out, step{what, note, "cannot be kept here: " + line, ""})
			}
			if p.ServicesDown {
				out = append(out, step{what, note, "services are down: nobody is removed for lack of an account", ""})
			}
		}
		for _, line := range r.Alarms {
			out = append(out, step{r.Name, bad, line, "drawbridge guard audit --room " + r.Name})
		}
		if !r.Armed {
			out = append(out, step{r.Name, note, "is in dry run", "drawbridge guard enable " + r.Name + ", once the audit says what you want"})
		}
	}
	return out
}

// guardWarnings are those of guardDoubts that somebody has to mend, for status.
func guardWarnings(c *config.Config, s *guard.Status) (out []string) {
	for _, d := range guardDoubts(c, s) {
		if d.Outcome == bad {
			out = append(out, "guard: "+d.What+" "+d.Said)
		}
	}
	return out
}
