package migrate

import (
	"context"
	"slices"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

// tick does what is due.
func (m *Mover) tick(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, people := m.now(), m.d.People()
	for i := range m.moves {
		mv := &m.moves[i]
		before := m.states[mv.Bridge]
		f := m.figuresLocked(mv, people, now)
		after, actions := Step(mv, before, f, now)
		m.census.note(mv, after.Phase, &f, now)
		if !after.equal(&before) && !m.keepLocked(ctx, after) {
			continue // in a second again: nothing is said that is not kept
		}
		for _, a := range actions {
			m.actLocked(mv, &after, a, now)
		}
	}
}

// equal compares states.
func (s *State) equal(o *State) bool {
	a, b := *s, *o
	same := a.Since.Equal(b.Since) && a.Date.Equal(b.Date) && a.Due.Equal(b.Due) && a.Missed.Equal(b.Missed) && a.Warned.Equal(b.Warned) &&
		a.Pointed.Equal(b.Pointed) && a.Counted.Equal(b.Counted) && slices.EqualFunc(a.Known, b.Known, time.Time.Equal)
	return same && a.Bridge == b.Bridge && a.Phase == b.Phase && a.By == b.By && a.Held == b.Held && a.HeldBy == b.HeldBy && a.Told == b.Told
}

// keepLocked keeps a state, and takes it.
func (m *Mover) keepLocked(ctx context.Context, s State) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if err := m.d.Store.PutState(ctx, s); err != nil {
		m.d.Log.Error("migration: the store fails, nothing goes on", "rule", s.Bridge, "err", err)
		return false
	}
	m.states[s.Bridge] = s
	return true
}

// figuresLocked are the figures of a move.
func (m *Mover) figuresLocked(mv *Move, people *People, now time.Time) Figures {
	f := m.census.figures(mv, people, now)
	f.Since = m.states[mv.Bridge].Counted
	closing := m.states[mv.Bridge].Phase+1 >= Closed
	for _, place := range slices.Concat(mv.Channels, mv.Old) {
		if why := m.d.Guard.HeldBy(place, closing); why != "" && !slices.Contains(f.Rooms, why) {
			f.Rooms = append(f.Rooms, why)
		}
	}
	return f
}

// actLocked carries one action out.
func (m *Mover) actLocked(mv *Move, s *State, a Action, now time.Time) {
	switch a.Kind {
	case Announce:
		m.d.Log.Info("migration: announced", "rule", mv.Bridge+" "+a.Phase.String(), "took", a.Due.Sub(now))
		m.note(mv, byDate, "announce "+a.Phase.String()+" for "+since(a.Due), "", "said")
		m.tell(mv, func(v voice) string { return v.soon(a.Phase, a.Due, now) })
	case Enter:
		m.enteredLocked(mv, s, byDate)
	case Warn:
		m.d.Log.Warn("migration: held back", "rule", mv.Bridge+" "+a.Phase.String(), "err", a.Text)
		m.note(mv, byDate, "enter "+a.Phase.String(), "", "refused: "+a.Text)
		m.d.Alarm("Bridge " + mv.Bridge + " does not become " + a.Phase.String() + ", though its date has come: " + a.Text + ".")
	case Point:
		m.d.Core.Announce(mv.Bridge, mv.all(voice.pointer), bridge.Channel)
	}
}

// enteredLocked begins the phase of a state that is kept already.
func (m *Mover) enteredLocked(mv *Move, s *State, by string) {
	m.d.Log.Info("migration: entered", "rule", mv.Bridge+" "+s.Phase.String(), "from", by)
	undo := ""
	if s.Phase > Mirror {
		undo = "migrate back " + mv.Bridge
	}
	m.note(mv, by, "enter "+s.Phase.String(), undo, "done")
	// Told before the door is shut: +m would not stop the bot, but a closed channel
	// hears nothing any more.
	m.tell(mv, func(v voice) string { return v.begun(s.Phase) })
	m.applyLocked()
}

// byDate is who acts when a date has come.
const byDate = "date"

// note writes a line of the audit.
func (m *Mover) note(mv *Move, by, acts, undo, result string) {
	a := guard.Act{At: m.now(), Acts: "migrate " + mv.Bridge + ": " + acts, Actor: by, Result: result, Undo: undo, Effect: policy.Alert}
	if len(mv.Channels) > 0 {
		a.Place = mv.Channels[0].String()
	}
	m.d.Guard.Note(a)
}

// tell says something in both places, in each language.
func (m *Mover) tell(mv *Move, say func(voice) string) {
	m.d.Core.Announce(mv.Bridge, mv.all(say), bridge.Channel, bridge.MUC, bridge.Chat)
}

// applyLocked has the guard and the core follow the phases.
func (m *Mover) applyLocked() {
	moving, marks := map[bridge.Room]guard.Moving{}, map[string]string{}
	for i := range m.moves {
		mv := &m.moves[i]
		p := m.states[mv.Bridge].Phase
		if p >= EncryptedFirst {
			marks[mv.Bridge] = mv.voice().say("mark")
		}
		for _, place := range mv.Channels {
			moving[place] = channelMoving(mv, p)
		}
		for _, place := range mv.Old {
			moving[place] = oldMoving(mv, p)
		}
	}
	m.d.Core.SetMarks(marks)
	m.d.Guard.SetMoving(moving)
}

// channelMoving is what a phase asks of a channel.
func channelMoving(m *Move, p Phase) guard.Moving {
	out := guard.Moving{ReadOnly: p >= ReadOnly, Closed: p >= Closed}
	if p >= ReadOnly {
		out.Entry = m.all(func(v voice) string { return v.greeting(p) })
	}
	if p >= Farewell {
		out.Topic = m.voice().pointer()
	}
	if p >= Closed {
		out.Forward = m.Forward
	}
	return out
}

// oldMoving is what a phase asks of a MUC that is left with the channel.
func oldMoving(m *Move, p Phase) guard.Moving {
	out := guard.Moving{Closed: p >= Closed}
	if p >= Farewell {
		out.Topic, out.Entry = m.voice().pointer(), m.all(func(v voice) string { return v.greeting(p) })
	}
	return out
}
