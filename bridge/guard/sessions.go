package guard

import (
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// reach notes how far the bot's encrypted sessions with somebody in a MUC reach, on
// whichever of its accounts they are. While one that could know better cannot tell, it is
// not known; nor of somebody whose JID is hidden.
func (t *table) reach(f *policy.Facts) {
	if f.RungKnown == policy.Never || len(t.tellers) == 0 {
		return
	}
	f.Rung, f.RungKnown = policy.Clear, policy.Unknown
	if f.JID.Known != policy.Yes {
		return
	}
	best, all := policy.Clear, true
	for _, l := range t.tellers {
		rung, known := l.Sessions(f.JID.Value)
		best, all = max(best, rung), all && known == policy.Yes
	}
	if all || best == policy.Verified {
		f.Rung, f.RungKnown = best, policy.Yes
	}
}

// sessions judges anew whoever has that JID: the sessions with them changed.
func (t *table) sessions(jid string, now time.Time) {
	for _, r := range t.rooms {
		r.mu.Lock()
		for _, sd := range r.sides {
			for _, sub := range sd.present {
				if sub.facts.JID.Known != policy.Yes || sub.facts.JID.Value != jid {
					continue
				}
				rung, known := sub.facts.Rung, sub.facts.RungKnown
				if t.reach(&sub.facts); rung != sub.facts.Rung || known != sub.facts.RungKnown {
					sd.judgeLocked(sub, now)
				}
			}
		}
		r.mu.Unlock()
	}
}

// tellersOf returns the legs that have encrypted sessions with people.
func tellersOf(legs []bridge.Enforcer) (out []bridge.SessionTeller) {
	for _, l := range legs {
		if s, ok := l.(bridge.SessionTeller); ok {
			out = append(out, s)
		}
	}
	return out
}
