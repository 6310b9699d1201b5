package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestFloods(t *testing.T) {
	limits := FloodLimits{
		Lines: Limit{3, 5 * time.Second}, Repeats: Limit{2, time.Minute}, Caps: Limit{2, time.Minute}, Cycles: Limit{2, time.Minute}, Nicks: Limit{2, time.Minute},
		Highlights: 5, Clones: 2,
	}
	line := func(h uint64) Said { return Said{Hash: h, Letters: 20} }
	sec := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	for _, tt := range []struct {
		name string
		do   func(m *Floods) FloodSet
		want FloodSet
	}{
		{"slow lines", func(m *Floods) (f FloodSet) {
			for i := range 10 {
				f |= m.Said("a", line(uint64(i)), sec(3*i))
			}
			return f
		}, 0},
		{"fast lines", func(m *Floods) FloodSet {
			m.Said("a", line(1), sec(0))
			m.Said("a", line(2), sec(1))
			return m.Said("a", line(3), sec(2))
		}, FloodLines},
		{"two speakers", func(m *Floods) FloodSet {
			m.Said("a", line(1), sec(0))
			m.Said("a", line(2), sec(1))
			return m.Said("b", line(3), sec(2))
		}, 0},
		{"the same again", func(m *Floods) FloodSet { m.Said("a", line(1), sec(0)); return m.Said("a", line(1), sec(30)) }, FloodRepeats},
		{"shouting twice", func(m *Floods) FloodSet {
			m.Said("a", Said{1, 20, 20, 0}, sec(0))
			return m.Said("a", Said{2, 20, 15, 0}, sec(30))
		}, FloodCaps},
		{"a short word is no shouting", func(m *Floods) FloodSet {
			m.Said("a", Said{1, 3, 3, 0}, sec(0))
			return m.Said("a", Said{2, 3, 3, 0}, sec(30))
		}, 0},
		{"many names", func(m *Floods) FloodSet { return m.Said("a", Said{1, 50, 0, 5}, sec(0)) }, FloodHighlights},
		{"in and out", func(m *Floods) FloodSet {
			m.Joined("a", "h", sec(0))
			m.Left("a", false, sec(1))
			f, _ := m.Joined("a", "h", sec(2))
			return f
		}, FloodCycles},
		{"out and in by a netsplit", func(m *Floods) FloodSet {
			m.Joined("a", "h", sec(0))
			m.Left("a", true, sec(1))
			f, returned := m.Joined("a", "h", sec(60))
			if !returned {
				t.Error("not known again")
			}
			return f
		}, 0},
		{"clones", func(m *Floods) (f FloodSet) {
			for i := range 3 {
				f, _ = m.Joined(fmt.Sprint(i), "h", sec(100*i))
			}
			return f
		}, FloodClones},
		{"one after the other is no clone", func(m *Floods) (f FloodSet) {
			for i := range 5 {
				f, _ = m.Joined(fmt.Sprint(i), "h", sec(100*i))
				m.Left(fmt.Sprint(i), false, sec(100*i+50))
			}
			return f
		}, 0},
		{"behind one bridge are no clones", func(m *Floods) (f FloodSet) {
			for i := range 5 {
				f, _ = m.Joined(fmt.Sprint(i), "", sec(i))
			}
			return f
		}, 0},
		{"nicks", func(m *Floods) FloodSet { m.Renamed("a", "b", sec(0)); return m.Renamed("b", "c", sec(1)) }, FloodNicks},
		{"it is over", func(m *Floods) FloodSet { m.Said("a", Said{1, 50, 0, 5}, sec(0)); return m.In("a", sec(60)) }, 0},
		{"it is not over", func(m *Floods) FloodSet { m.Said("a", Said{1, 50, 0, 5}, sec(0)); return m.In("a", sec(59)) }, FloodHighlights},
	} {
		if got := tt.do(NewFloods(limits)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// However many come, what is kept is bounded, and who was heard last is kept.
func TestFloodsAreBounded(t *testing.T) {
	m := NewFloods(FloodLimits{Lines: Limit{3, time.Second}, Clones: 10})
	for i := range 3 * maxTracked {
		m.Joined(fmt.Sprint(i), fmt.Sprint("h", i), noon)
	}
	if len(m.seen) > maxTracked || m.idle.Len() > maxTracked || len(m.hosts) > maxTracked {
		t.Errorf("%d subjects, %d in order, %d hosts", len(m.seen), m.idle.Len(), len(m.hosts))
	}
	if m.seen[fmt.Sprint(3*maxTracked-1)] == nil || m.seen["0"] != nil {
		t.Error("the wrong ones are forgotten")
	}
}

func TestBreaker(t *testing.T) {
	b := NewBreaker(Limit{}, 0)
	var got []bool
	for i := range 4 {
		got = append(got, b.Reverted("+s", "eve", noon.Add(time.Duration(i)*10*time.Second)))
	}
	if !slices.Equal(got, []bool{false, false, true, true}) {
		t.Error(got)
	}
	if b.Reverted("+s", "bob", noon) || b.Reverted("-t", "eve", noon) {
		t.Error("another party, or another thing, is another war")
	}
	if at := noon.Add(5 * time.Minute); !b.Stopped("+s", at) || b.Stopped("-t", at) || b.Stopped("+s", noon.Add(time.Hour)) {
		t.Error("the rest is wrong")
	}
	for i := range 1000 {
		b.Reverted("+s", fmt.Sprint(i), noon)
	}
	if len(b.wars) > 256 {
		t.Errorf("%d wars are kept", len(b.wars))
	}
}

func TestLockdown(t *testing.T) {
	join := func(l *Lockdown, n int, returned bool, at time.Time) (shut int) {
		for range n {
			if l.Joined(returned, at) {
				shut++
			}
		}
		return shut
	}
	l := NewLockdown(Limit{10, 10 * time.Second}, time.Minute)
	if join(l, 100, true, noon) > 0 || join(l, 39, false, noon) > 0 {
		t.Error("a netsplit that heals shuts the room")
	}
	if join(l, 1, false, noon) != 1 || !l.Shut(noon) {
		t.Error("an attack under cover of a netsplit does not shut it")
	}
	if l.Shut(noon.Add(time.Minute)) {
		t.Error("it does not open by itself")
	}
	l = NewLockdown(Limit{10, 10 * time.Second}, time.Minute)
	if n := join(l, 50, false, noon); n != 1 {
		t.Errorf("shut %d times", n)
	}
	if l.Set(time.Time{}); l.Shut(noon) {
		t.Error("it cannot be opened by hand")
	}
}

func TestBudgeted(t *testing.T) {
	f, d := onIRC("", Yes), Decision{}
	f.Since = noon
	if d.Budgeted(&f, noon.Add(time.Minute)) || !d.Budgeted(&f, noon.Add(61*time.Second)) {
		t.Error("a newcomer is one for a minute")
	}
	if f.Admitted = true; !d.Budgeted(&f, noon) {
		t.Error("who was let in counts")
	}
	if f, d = onIRC("?", Yes), (Decision{Missing: MissingAccount}); !d.Budgeted(&f, noon) {
		t.Error("who is not known counts")
	}
}

func TestBans(t *testing.T) {
	s := testSpec()
	p := compiled(t, s)
	bans := []BanRecord{
		{ID: "short", Person: "mallory", Until: noon.Add(time.Hour)}, {ID: "long", Person: "mallory", Rooms: []string{"lobby"}}, {ID: "mask", Mask: "*@10.0.0.*"},
	}
	f := onIRC("mallory", Yes)
	f.Host = "else.example"
	for room, want := range map[string]string{"lobby": "long", "finance": "short"} {
		if p.FindBan(bans, &f, room, noon); f.Ban == nil || f.Ban.ID != want {
			t.Errorf("%s: %+v", room, f.Ban)
		}
	}
	if p.FindBan(bans, &f, "finance", noon.Add(time.Hour)); f.Ban != nil {
		t.Errorf("over, but %+v", f.Ban)
	}
	f = onIRC("", Yes)
	if p.FindBan(bans, &f, "lobby", noon); f.Ban == nil || f.Ban.ID != "mask" {
		t.Errorf("%+v", f.Ban)
	}
	f = NewXMPPFacts("dev-bot", "nick")
	if p.FindBan(bans, &f, "lobby", noon); f.Ban != nil || f.BanMissing != 0 {
		t.Errorf("mallory is on IRC only and XMPP has no hosts, but %+v, %s", f.Ban, f.BanMissing)
	}
	f = onIRC("?", Yes) // it may be mallory: held, not removed
	f.Host = "else.example"
	p.FindBan(bans, &f, "lobby", noon)
	if d := Decide(p, &f, Event{"lobby", Speak}, noon); f.BanMissing != MissingAccount || d.Effect != Quarantine || d.Missing != MissingAccount || d.Acts.Removes() {
		t.Errorf("%s missing, %s", f.BanMissing, d.Effect)
	}
	alice, stranger := onIRC("alice", Yes), onIRC("", Yes)
	for why, present := range map[string][]Facts{
		"":                                      {stranger, inMUC("alice@corp.example")},
		"it fits 2 who are there, and 1 may go": {stranger, stranger},
		"it fits nick, who must not be removed": {alice},
	} {
		if got := p.Hit("10.0.0.*", present).Refused(1); got != why {
			t.Errorf("%q, want %q", got, why)
		}
	}
	if got := s.People[1].BanMasks("corp", inspircd); !slices.Equal(got, []string{"R:bob"}) {
		t.Error(got)
	}
	if got := s.People[1].BanMasks("corp", ChannelCaps{}); !slices.Equal(got, []string{"*@bob.home.example"}) {
		t.Error(got)
	}
}

func TestFoldMaskAndWild(t *testing.T) {
	for in, want := range map[string]string{
		"eve": "eve!*@*", "*@H.Example": "*!*@h.example", "h.example": "*!*@h.example", "a!b@c": "a!b@c", "a!b": "a!b@*", "2001:db8::*": "*!*@2001:db8::*", "": "*!*@*",
	} {
		if got := FoldMask(in); got != want {
			t.Errorf("FoldMask(%q) = %q, want %q", in, got, want)
		}
	}
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"a*c", "abbc", true}, {"a*c", "abbd", false}, {"a?c", "aBC", true}, {"a?", "a", false}, {"*a*b*", "xaxbx", true}, {"**", "x", true}, {"{x}", "[X]", true}, {"", "x", false},
	} {
		if got := wild(tt.pattern, tt.s); got != tt.want {
			t.Errorf("wild(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

// Who logs in or out, or changes nick, goes on as they were: what they did counts on.
func TestFloodsGoOnByAnotherKey(t *testing.T) {
	limits := FloodLimits{Lines: Limit{4, 5 * time.Second}, Repeats: Limit{3, time.Minute}, Caps: Limit{3, time.Minute}, Nicks: Limit{2, time.Minute}, Clones: 1}
	sec := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	line := func(n int) Said { return Said{Hash: uint64(n), Letters: 20} }
	for _, tt := range []struct {
		name string
		do   func(m *Floods) FloodSet
		want FloodSet
	}{
		{"lines before and after", func(m *Floods) FloodSet {
			m.Said("mask", line(1), sec(0))
			m.Said("mask", line(2), sec(0))
			m.Said("account", line(3), sec(1)) // by another connection of theirs
			m.Became("mask", "account", "", sec(1))
			return m.Said("account", line(4), sec(2))
		}, FloodLines},
		{"in and out again", func(m *Floods) (f FloodSet) {
			for i := range 4 {
				f = m.Said("mask", line(2*i), sec(0))
				m.Became("mask", "account", "", sec(0))
				m.Became("account", "mask", "", sec(0))
			}
			return f
		}, FloodLines},
		{"one line, in and out again and again", func(m *Floods) (f FloodSet) {
			m.Said("mask", Said{1, 20, 20, 0}, sec(0))
			for range 9 {
				m.Became("mask", "account", "", sec(0))
				f = m.Became("account", "mask", "", sec(0))
			}
			return f | m.Said("mask", Said{1, 20, 20, 0}, sec(0))
		}, 0},
		{"slow lines", func(m *Floods) FloodSet {
			m.Said("mask", line(1), sec(0))
			m.Said("mask", line(2), sec(1))
			m.Said("mask", line(3), sec(2))
			m.Became("mask", "account", "", sec(2))
			return m.Said("account", line(4), sec(5))
		}, 0},
		{"the same line", func(m *Floods) FloodSet {
			m.Said("mask", line(1), sec(0))
			m.Said("mask", line(1), sec(9))
			m.Became("mask", "account", "", sec(9))
			return m.Said("account", line(1), sec(18))
		}, FloodRepeats},
		{"what they are in", func(m *Floods) FloodSet {
			for i := range 4 {
				m.Said("mask", line(i), sec(0))
			}
			return m.Became("mask", "account", "", sec(30))
		}, FloodLines},
		{"and no longer than that", func(m *Floods) FloodSet {
			for i := range 4 {
				m.Said("mask", line(i), sec(0))
			}
			m.Became("mask", "account", "", sec(30))
			return m.In("account", sec(60))
		}, 0},
		{"those of the other key", func(m *Floods) FloodSet {
			for i := range 4 {
				m.Said("account", line(i), sec(0))
			}
			return m.Became("mask", "account", "", sec(30))
		}, FloodLines},
		{"by another nick, which flooded before", func(m *Floods) FloodSet {
			for i := range 4 {
				m.Said("eve!e@h", line(i), sec(0))
			}
			return m.Renamed("eve2!e@h", "eve!e@h", sec(1))
		}, FloodLines},
		{"clones that log in", func(m *Floods) FloodSet {
			m.Joined("mask1", "h", sec(0))
			m.Became("mask1", "account1", "h", sec(0))
			f, _ := m.Joined("mask2", "h", sec(0))
			return f
		}, FloodClones},
		{"clones whom we come to know", func(m *Floods) FloodSet {
			m.Joined("mask1", "h", sec(0))
			m.Became("mask1", "person bob", "", sec(0))
			f, _ := m.Joined("mask2", "h", sec(0))
			return f
		}, 0},
		{"a clone that changed nick and left", func(m *Floods) FloodSet {
			m.Joined("eve!e@h", "h", sec(0))
			m.Renamed("eve!e@h", "eve2!e@h", sec(0))
			m.Left("eve2!e@h", false, sec(0))
			f, _ := m.Joined("mask2", "h", sec(0))
			return f
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.do(NewFloods(limits)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A removal that is tried again counts once, at its last try: so no span sees more than may
// be, and none is counted twice.
func TestBudgetAgain(t *testing.T) {
	b := NewBudget(MaxRemovals{Count: 2, Share: 100})
	sec := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	if b.Again(sec(0), sec(0)) {
		t.Error("one that was never counted")
	}
	if !b.Take(1, 10, sec(0)) || !b.Again(sec(0), sec(50)) || b.Again(sec(0), sec(51)) {
		t.Error("not counted anew, once")
	}
	if b.Take(2, 10, sec(70)) || !b.Take(1, 10, sec(70)) {
		t.Error("it does not count at its last try")
	}
	if b.Again(sec(50), sec(110)) {
		t.Error("it counts for longer than its time")
	}
}

// A removal counts for the budget where something is not known, where somebody was let
// in before, and where they came long ago.
func TestBudgetedUnlessCertain(t *testing.T) {
	fresh := Facts{Since: noon.Add(-30 * time.Second)}
	for _, tt := range []struct {
		name string
		f    Facts
		d    Decision
		want bool
	}{
		{"a stranger who just came", fresh, Decision{}, false},
		{"something is not known", fresh, Decision{Missing: MissingAccount}, true},
		{"was let in", Facts{Since: fresh.Since, Admitted: true}, Decision{}, true},
		{"came long ago", Facts{Since: noon.Add(-2 * time.Minute)}, Decision{}, true},
		{"since when is not known", Facts{}, Decision{}, true},
	} {
		if got := tt.d.Budgeted(&tt.f, noon); got != tt.want {
			t.Errorf("%s: counts %v", tt.name, got)
		}
	}
}

// A mask is refused also where somebody whom it fits may turn out to be protected.
func TestHitMayBeProtected(t *testing.T) {
	p := compiled(t, testSpec())
	present := []Facts{onIRC("", Yes), onIRC("?", Yes)}
	present[0].Nick, present[1].Nick = "eve", "who"
	if hit := p.Hit("*!*@10.0.0.7", present); hit.Present != 2 || len(hit.Protected) != 1 || hit.Protected[0] != "who" || hit.Refused(5) == "" {
		t.Errorf("%+v", hit)
	}
}

// Who left in a netsplit may return uncounted for a while, and not for ever.
func TestReturnFromANetsplitHasAnEnd(t *testing.T) {
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{time.Minute, true}, {10 * time.Minute, true}, {10*time.Minute + time.Second, false}} {
		m := NewFloods(FloodLimits{})
		m.Joined("a", "h", noon)
		m.Left("a", true, noon)
		if _, returned := m.Joined("a", "h", noon.Add(tt.after)); returned != tt.want {
			t.Errorf("after %s: returned %v", tt.after, returned)
		}
	}
}
