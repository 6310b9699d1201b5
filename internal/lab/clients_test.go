//go:build e2e

package lab

import (
	"strings"
	"testing"
	"time"
)

func TestRealClientsSpeakGPG(t *testing.T) {
	l := New(t)
	s := l.Prosody(Prosody{})
	s.AddUser("ann", "bob")
	s.Befriend("ann", "bob")
	ga, gb := l.GPG("ann"), l.GPG("bob")
	ka, kb := ga.NewKey(Key{UID: "ann"}), gb.NewKey(Key{UID: "bob", Algo: "rsa2048"})
	ga.Import(gb.Export(kb))
	gb.Import(ga.Export(ka))
	ann := l.Profanity(s, ProfanityUser{Name: "ann", GPG: ga, Key: ka})
	bob := l.Mcabber(s, McabberUser{Name: "bob", GPG: gb, Key: kb, Pinned: map[string]string{"ann@localhost": ka}})
	ann.Talk("bob@localhost", kb)
	long := strings.Repeat("grüße ", 400) + "end"
	ann.Type("hello bob; ü €")
	ann.Type(long)
	l.Await(patience, "bob reads ann", func() bool {
		h := bob.Heard("ann@localhost")
		return len(h) == 2 && h[0] == "hello bob; ü €" && h[1] == long
	})
	bob.Say("ann@localhost", "hello ann: ä")
	l.Await(patience, "ann reads bob", func() bool {
		h := ann.Heard("bob@localhost")
		return len(h) == 1 && h[0] == "hello ann: ä"
	})
	ann.Expect("hello ann: ä")
	sealed := 0
	for _, st := range s.Stanzas() {
		if strings.HasPrefix(st.XML, "<message") && strings.Contains(st.XML, "jabber:x:encrypted") {
			sealed++
		}
		if strings.Contains(st.XML, "hello") {
			t.Errorf("in clear: %s", st.XML)
		}
	}
	if sealed < 6 {
		t.Errorf("%d encrypted messages passed the server, want 3 in and 3 out", sealed)
	}
}

func TestGPGHomes(t *testing.T) {
	l := New(t)
	g, h := l.GPG("a"), l.GPG("b")
	past := time.Now().Add(-30 * 24 * time.Hour)
	fpr := g.NewKey(Key{UID: "a", Subkey: "2d", Created: past})
	h.Import(g.Export(fpr))
	if _, err := h.try("x", "--armor", "--recipient", fpr, "--encrypt"); err == nil {
		t.Fatal("gpg encrypts to an expired subkey")
	}
	g.RenewSubkeys(fpr, "1y")
	h.Import(g.Export(fpr))
	text, err := g.Open(h.Seal(fpr, "ü secret"))
	if err != nil || text != "ü secret" {
		t.Fatalf("Open = %q, %v", text, err)
	}
}
