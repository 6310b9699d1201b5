package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	someGroups = []string{"staff", "finance", "admins", "fired", "company"}
	somePeople = []string{"alice", "bob", "carol", "mallory"}
)

func drawKnown(t *rapid.T, label string) Known {
	return rapid.SampledFrom([]Known{Unknown, No, Yes}).Draw(t, label)
}

func drawWho(t *rapid.T, label string) Who {
	return Who{
		Groups:    rapid.SliceOfN(rapid.SampledFrom(someGroups), 0, 2).Draw(t, label+" groups"),
		People:    rapid.SliceOfN(rapid.SampledFrom(somePeople), 0, 1).Draw(t, label+" people"),
		AtLeast:   rapid.SampledFrom([]Strength{Nick, Host, Account, RealJID, Cert, Key}).Draw(t, label+" at least"),
		Anonymous: rapid.IntRange(0, 3).Draw(t, label+" anonymous") == 0,
		Hosts:     rapid.SliceOfN(rapid.SampledFrom([]string{"10.0.0.*", "*@bob.home.example", "nick!*@*"}), 0, 1).Draw(t, label+" hosts"),
	}
}

func drawRule(t *rapid.T, id string) Rule {
	r := Rule{
		ID: id, Rooms: []string{"finance"}, Effect: Effect(rapid.IntRange(0, int(Ban)).Draw(t, "effect")),
		Do:  rapid.SliceOfNDistinct(rapid.SampledFrom([]Do{Join, Speak, Op, RelayIn}), 1, 4, rapid.ID[Do]).Draw(t, "do"),
		Who: drawWho(t, "who"),
		If: If{
			TLS: drawKnown(t, "if tls"), Account: drawKnown(t, "if account"), Cert: drawKnown(t, "if cert"), Encrypted: drawKnown(t, "if encrypted"),
			Below: Rung(rapid.IntRange(0, 3).Draw(t, "below")), Affiliations: drawSet[AffiliationSet](t, "if affiliation", len(affiliationNames)),
			Roles: drawSet[RoleSet](t, "if role", len(roleNames)), Floods: FloodSet(rapid.IntRange(0, 3).Draw(t, "if floods")),
		},
		For: time.Duration(rapid.IntRange(0, 2).Draw(t, "for")) * time.Hour,
	}
	if w := drawWho(t, "except"); !w.unset() && rapid.Bool().Draw(t, "has except") {
		r.Except = []Who{w}
	}
	return r
}

// drawSet draws a set of words that a condition asks for; mostly none.
func drawSet[T ~uint8](t *rapid.T, label string, of int) T {
	if rapid.IntRange(0, 2).Draw(t, label+" asked") > 0 {
		return 0
	}
	return T(rapid.IntRange(1, 1<<of-1).Draw(t, label))
}

// drawWord draws a fact that is a word: known, or not told yet.
func drawWord(t *rapid.T, label string, words []string) Fact {
	if rapid.IntRange(0, 3).Draw(t, label+" known") == 0 {
		return Fact{}
	}
	return Is(rapid.SampledFrom(words).Draw(t, label), "presence", noon)
}

func drawSpec(t *rapid.T) Spec {
	s := testSpec()
	s.Rooms[0].Default = rapid.SampledFrom([]Effect{Allow, Quarantine, Deny}).Draw(t, "default")
	s.Rules = nil
	for i := range rapid.IntRange(0, 6).Draw(t, "rules") {
		s.Rules = append(s.Rules, drawRule(t, fmt.Sprint("r", i)))
	}
	return s
}

func drawFacts(t *rapid.T) Facts {
	f := onIRC(rapid.SampledFrom([]string{"", "?", "alice", "bob", "mallory", "peerbot", "else"}).Draw(t, "account"), drawKnown(t, "tls"))
	if rapid.Bool().Draw(t, "on xmpp") {
		f = inMUC(rapid.SampledFrom([]string{"", "alice@corp.example", "bob@corp.example", "eve@else.example"}).Draw(t, "jid"))
		f.Key = Fact{Known: drawKnown(t, "key"), Value: rapid.SampledFrom([]string{"A1", "C3", "EE"}).Draw(t, "fpr")}
		f.Affiliation, f.Role = drawWord(t, "affiliation", affiliationNames[:]), drawWord(t, "role", roleNames[:])
		f.Occupant = drawWord(t, "occupant", []string{"id1", "id2"})
	} else {
		f.Host = rapid.SampledFrom([]string{"10.0.0.7", "bob.home.example", "else.example"}).Draw(t, "host")
		f.Cert = Fact{Known: drawKnown(t, "cert"), Value: rapid.SampledFrom([]string{"aa", "bb"}).Draw(t, "certfp")}
	}
	f.RungKnown, f.Rung = drawKnown(t, "rung known"), Rung(rapid.IntRange(0, 3).Draw(t, "rung"))
	f.Floods = FloodSet(rapid.IntRange(0, 3).Draw(t, "floods"))
	f.Since = noon.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "here for")) * time.Hour)
	if rapid.IntRange(0, 4).Draw(t, "banned") == 0 {
		f.Ban = &BanRecord{ID: "b1"}
	}
	return f
}

func drawEvent(t *rapid.T) Event {
	return Event{"finance", rapid.SampledFrom([]Do{Join, Speak, Op, RelayIn}).Draw(t, "event")}
}

func mustCompile(t *rapid.T, s Spec) *Policy {
	p, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// forget returns facts with one known fact made unknown, each in turn.
func forget(f Facts) []Facts {
	var out []Facts
	for _, of := range []func(*Facts) *Fact{
		func(f *Facts) *Fact { return &f.Account }, func(f *Facts) *Fact { return &f.Cert },
		func(f *Facts) *Fact { return &f.JID }, func(f *Facts) *Fact { return &f.Key }, func(f *Facts) *Fact { return &f.TLS },
		func(f *Facts) *Fact { return &f.Affiliation }, func(f *Facts) *Fact { return &f.Role }, func(f *Facts) *Fact { return &f.Occupant },
	} {
		g := f
		if fact := of(&g); fact.Known == Yes || fact.Known == No {
			*fact = Fact{}
			out = append(out, g)
		}
	}
	if f.RungKnown == Yes || f.RungKnown == No {
		f.RungKnown = Unknown
		out = append(out, f)
	}
	return out
}

// Nothing removes a protected subject: not a rule, not a ban, and not the loss of
// the fact that proves who it is.
func TestPropertyProtectedStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f, e := mustCompile(t, drawSpec(t)), drawFacts(t), drawEvent(t)
		var s subject
		p.identify(&f, &s)
		if s.protected(&f) != Yes {
			t.Skip()
		}
		for _, g := range append(forget(f), f) {
			if d := Decide(p, &g, e, noon); d.Acts.Removes() {
				t.Fatalf("%+v: %s", g, d.Acts)
			}
		}
	})
}

// The order of the file opens no hole.
func TestPropertyOrderDoesNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, f, e := drawSpec(t), drawFacts(t), drawEvent(t)
		a := Decide(mustCompile(t, s), &f, e, noon)
		s.Rules = rapid.Permutation(s.Rules).Draw(t, "order")
		b := Decide(mustCompile(t, s), &f, e, noon)
		a.steps, b.steps = [MaxRules]Step{}, [MaxRules]Step{}
		if a != b {
			t.Fatalf("%+v\nbecame %+v", a, b)
		}
	})
}

// One more rule that restricts never lets anybody in. Quarantine is no such
// rule: it admits, to be seen and not heard.
func TestPropertyMoreDenyNeverAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, f, e := drawSpec(t), drawFacts(t), drawEvent(t)
		a := Decide(mustCompile(t, s), &f, e, noon)
		r := drawRule(t, "more")
		if r.Effect < Devoice {
			t.Skip()
		}
		s.Rules = append(s.Rules, r)
		b := Decide(mustCompile(t, s), &f, e, noon)
		if b.Effect < a.Effect && (r.Effect != Quarantine || b.Effect < Quarantine) {
			t.Fatalf("%s became %s by a rule that says %s", a.Effect, b.Effect, r.Effect)
		}
	})
}

// Not knowing is never worse than being known to be banned, and never better than
// being refused.
func TestPropertyUnknownIsNoGuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f, e := mustCompile(t, drawSpec(t)), drawFacts(t), drawEvent(t)
		a := Decide(p, &f, e, noon)
		for _, g := range forget(f) {
			b := Decide(p, &g, e, noon)
			if b.Acts.Removes() && !a.Acts.Removes() {
				t.Fatalf("%s became %s by knowing less: %+v", a.Effect, b.Effect, g)
			}
			if b.Effect == Ban && a.Effect != Ban {
				t.Fatalf("%s became a ban by knowing less", a.Effect)
			}
			if a.Effect >= Quarantine && b.Effect <= Alert {
				t.Fatalf("%s became %s by knowing less: %+v", a.Effect, b.Effect, g)
			}
		}
	})
}

// An unknown fact is asked for, unless the verdict does not hang on it.
func TestPropertyDoubtIsAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f, e := mustCompile(t, drawSpec(t)), drawFacts(t), drawEvent(t)
		d := Decide(p, &f, e, noon)
		if (d.Basis == ByDoubt || d.Protected == Unknown) && d.Missing == 0 {
			t.Fatalf("%+v", d)
		}
		if d.Missing != 0 && d.Acts&ActLookUp == 0 {
			t.Fatal("nothing is looked up")
		}
	})
}

// The same input gives the same verdict and the same words.
func TestPropertyReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, f, e := drawSpec(t), drawFacts(t), drawEvent(t)
		p, q := mustCompile(t, s), mustCompile(t, s)
		a, b := Decide(p, &f, e, noon), Decide(q, &f, e, noon)
		if a != b || Explain(p, &f, e, a, noon, Told{}) != Explain(q, &f, e, b, noon, Told{}) {
			t.Fatal("two verdicts for one input")
		}
	})
}

// No span of the length given sees more removals than the limit.
func TestPropertyBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := MaxRemovals{Count: rapid.IntRange(1, 8).Draw(t, "count"), Share: rapid.IntRange(1, 100).Draw(t, "share"), Per: time.Minute}
		present := rapid.IntRange(0, 60).Draw(t, "present")
		b, now := NewBudget(m), noon
		var gone []time.Time
		for range rapid.IntRange(1, 40).Draw(t, "asked") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "later")) * time.Second)
			n := rapid.IntRange(0, 5).Draw(t, "n")
			if b.Take(n, present, now) {
				gone = append(gone, slices.Repeat([]time.Time{now}, n)...)
			}
		}
		for i := range gone {
			n := 0
			for _, x := range gone[i:] {
				if x.Sub(gone[i]) < m.Per {
					n++
				}
			}
			if n > m.Limit(present) {
				t.Fatalf("%d of %d removed in %s, and %d is the limit", n, present, m.Per, m.Limit(present))
			}
		}
	})
}
