package policy

import "testing"

// Who has lost every key is let in nowhere, and banned all the same; who is protected is
// not thrown out.
func TestGone(t *testing.T) {
	spec := testSpec()
	for i, p := range spec.People {
		gone := *p
		gone.Gone = true
		spec.People[i] = &gone
	}
	p := compiled(t, spec)
	bob, alice := onIRC("bob", Yes), onIRC("alice", Yes)
	if d := Decide(p, &bob, Event{"finance", Join}, noon); d.Effect != Deny {
		t.Errorf("bob: %s by %s", d.Effect, d.Rule)
	}
	if d := Decide(p, &bob, Event{"lobby", Join}, noon); d.Effect != Quarantine || d.Rule != "guests" {
		t.Errorf("bob is no guest: %s by %s", d.Effect, d.Rule)
	}
	if d := Decide(p, &alice, Event{"finance", Join}, noon); d.Acts.Removes() || d.Protected != Yes {
		t.Errorf("alice, who is protected: %s", d.Effect)
	}
	if who := p.Who(&bob); len(who) != 1 || who[0] != "bob" {
		t.Errorf("the account is %v", who)
	}
	p.FindBan([]BanRecord{{ID: "b", Person: "bob"}}, &bob, "lobby", noon)
	if d := Decide(p, &bob, Event{"lobby", Join}, noon); d.Basis != ByBan {
		t.Errorf("bob's ban: %s", d.Effect)
	}
}
