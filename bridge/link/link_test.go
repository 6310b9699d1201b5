package link_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/bridge/proof"
	"drawbridge/bridge/wording"
	"drawbridge/policy"
)

// Both sides have to say so: the account is shown a code, and the person sends it.
func TestLink(t *testing.T) {
	live(t, link.Open, func(h *house) {
		code := h.code("M", "bob@corp.example")
		has(t, "bob is asked", h.heard(), "bob: IRC account M on corp wants to act as you (nick nick)", "!link CODE", "gpg --clearsign")
		h.linked()
		has(t, "answer", h.says("bob", "!link "+code, policy.Signed), "Done: what the IRC account M on corp does counts as yours")
		h.linked("bob=corp/M")
		has(t, "IRC hears", h.heard(), "corp/nick: The account M and bob")
		if got := h.Bind(people[1]).IRC["corp"].Accounts; !slices.Equal(got, []string{"M"}) {
			t.Errorf("bob has the accounts %q", got)
		}
		if people[1].IRC != nil {
			t.Error("the person of the config was changed")
		}
		if l, ok := h.Of("corp", "m"); !ok || l.Person != "bob" || l.Mark != "entity A" {
			t.Errorf("link %+v", l)
		}
		has(t, "once", h.says("bob", "!link "+code, policy.Signed), "used already")
		has(t, "twice", h.on("M", "!link carol"), "linked already")
		has(t, "standing", h.on("M", "!link"), "acts as bob")
		has(t, "list", h.says("bob", "!link list", policy.Signed), "corp/M since")
		has(t, "another's", h.says("carol", "!link off corp/M", policy.Signed), "linked to nobody")
		h.linked("bob=corp/M")
		has(t, "off", h.says("bob", "!link off corp/M", policy.Signed), "Done")
		h.linked()
		if h.changes != 2 {
			t.Errorf("%d changes were told", h.changes)
		}
		h.set(func() {
			if want := []string{
				"link corp/M bob by corp/M: asked for", "link corp/M bob by bob: done", "unlink corp/M bob by bob: you asked for that",
			}; !slices.Equal(h.acts, want) {
				t.Errorf("audit %q", h.acts)
			}
		})
		h.says("bob", "!link "+h.code("M", "bob"), policy.Verified)
		h.linked("bob=corp/M")
		has(t, "off on IRC", h.on("m", "!link off"), "does not act as bob any more")
		h.linked()
	})
}

// What proves too little, too late, or by somebody else, links nothing.
func TestRefusals(t *testing.T) {
	live(t, link.Open, func(h *house) {
		has(t, "no account", h.on("", "!link bob"), "not logged in", "a nick is nobody's")
		has(t, "an account of the config", h.on("CAROLacct", "!link bob"), "linked already", "carol")
		for _, whom := range []string{"zoe", "mute", "gone"} { // a code like any other, and nobody hears
			code := h.code("eve"+whom, whom)
			if told := h.heard(); told != "" {
				t.Errorf("%s: %s", whom, told)
			}
			for _, p := range people {
				has(t, whom, h.says(p.Name, "!link "+code, policy.Verified), "no such code")
			}
		}
		code := h.code("M", "bob")
		has(t, "unsigned", h.says("bob", "!link "+code, policy.Sealed), "proves too little", "clear-sign")
		has(t, "clear", h.says("bob", "!link "+code, policy.Clear), "proves too little")
		has(t, "stale", h.Prove(h.ctx, &bridge.Claim{Text: "!link " + code, Person: "bob", Rung: policy.Verified, Stale: true}), "long on its way")
		has(t, "another person", h.says("carol", "!link "+code, policy.Verified), "no such code")
		has(t, "wrong", h.says("bob", "!link aaaa-bbbb-cccc-dddd-eeee", policy.Verified), "no such code")
		time.Sleep(proof.Life)
		has(t, "late", h.says("bob", "!link "+code, policy.Verified), "time of this code is over")
		h.set(func() { h.seen = bridge.AccountSeen{Known: policy.No} })
		has(t, "no such account", h.says("bob", "!link "+h.code("M", "bob"), policy.Verified), "services know no such account")
		h.linked()
	})
	live(t, link.Off, func(h *house) {
		has(t, "off", h.on("M", "!link bob"), "accounts are not linked here")
	})
	live(t, link.Staff, func(h *house) {
		code := h.code("M", "bob") // who is in no group
		if told := h.heard(); told != "" {
			t.Error(told)
		}
		has(t, "no staff", h.says("bob", "!link "+code, policy.Verified), "no such code")
	})
}

// Who cannot sign messages clear-signs the sentence: all of it, nothing else, in time.
func TestClearSigned(t *testing.T) {
	const block = "-----BEGIN PGP SIGNED MESSAGE-----\nI want the IRC\naccount nonce "
	for _, tt := range []struct {
		name   string
		change func(s *guard.Signed, t proof.Ticket, code string)
		want   string
	}{
		{"good", func(*guard.Signed, proof.Ticket, string) {}, "Done"},
		{"text around it", func(s *guard.Signed, _ proof.Ticket, _ string) { s.Text += " And pay eve." }, "not the sentence"},
		{"signed before", func(s *guard.Signed, _ proof.Ticket, _ string) { s.At = s.At.Add(-time.Hour) }, "another time"},
		{"signed after", func(s *guard.Signed, _ proof.Ticket, _ string) { s.At = s.At.Add(time.Hour) }, "another time"},
		{"another account", func(s *guard.Signed, t proof.Ticket, code string) {
			t.Account = "eve"
			s.Text = proof.Sentence(&t, code)
		}, "not the sentence"},
		{"another code", func(s *guard.Signed, t proof.Ticket, _ string) {
			s.Text = proof.Sentence(&t, "aaaa-bbbb-cccc-dddd-eeee")
		}, "no such code"},
		{"a key that is not known", func(s *guard.Signed, _ proof.Ticket, _ string) { s.Rung = policy.Sealed }, "not known as yours"},
		{"bad signature", func(s *guard.Signed, _ proof.Ticket, _ string) { *s = guard.Signed{} }, "bad signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, link.Open, func(h *house) {
				code := h.code("M", "bob")
				kept, err := h.store.Load(h.ctx)
				if err != nil || len(kept.Tickets) != 1 {
					t.Fatalf("%d tickets are kept (%v)", len(kept.Tickets), err)
				}
				ticket := kept.Tickets[0]
				h.signed = guard.Signed{Text: proof.Sentence(&ticket, code), Fingerprint: "F", At: time.Now(), Rung: policy.Verified}
				tt.change(&h.signed, ticket, code)
				text := block + code + "\n-----END PGP SIGNATURE-----"
				if !h.Claims("bob", text) || h.Claims("carol", text) {
					t.Error("it is not bob's to answer, or carol's, too")
				}
				has(t, "answer", h.says("bob", text, policy.Sealed), tt.want)
				if tt.want == "Done" {
					h.linked("bob=corp/M")
				} else {
					h.linked()
				}
			})
		})
	}
}

// What people are to paste into a shell is one word there, whatever an account is called,
// in each language.
func TestNothingForTheShell(t *testing.T) {
	for _, lang := range wording.Builtin().Languages() {
		command := ""
		live(t, link.Open, func(h *house) {
			h.speaks = lang
			h.open()
			h.code("x';reboot;'{until}", "bob")
			_, command, _ = strings.Cut(h.heard(), "echo ")
		})
		command, _, ok := strings.Cut(command, " | gpg --clearsign")
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf '[%s]' "+command).Output()
		if want := "[I want the IRC account x';reboot;'{until} on corp to act as bob for bot@corp.example: nonce CODE, good once, until "; !ok || err != nil || !strings.HasPrefix(string(out), want) || strings.Count(string(out), "[") != 1 {
			t.Errorf("%s: the shell takes %s for %q (%v)", lang, command, out, err)
		}
	}
}

// Who has a language is asked, answered and refused in it, here and on IRC; the sentence to
// sign is one for all.
func TestInTheirLanguage(t *testing.T) {
	live(t, link.Open, func(h *house) {
		h.speaks = "deutsch"
		h.open()
		code := h.code("M", "bob")
		has(t, "bob is asked", h.heard(), "bob: Das IRC-Konto M auf corp möchte als du handeln (Nick nick)", "!link CODE", "echo 'I want the IRC account M on corp to act as bob", "' | gpg --clearsign")
		has(t, "too little", h.says("bob", "!link "+code, policy.Sealed), "Nicht erledigt: die Nachricht beweist zu wenig (Stufe: sealed).", "Schreib von einem Gerät")
		has(t, "wrong", h.says("bob", "!link aaaa-bbbb-cccc-dddd-eeee", policy.Signed), "Nicht erledigt: einen solchen Code")
		has(t, "bad signature", h.says("bob", "-----BEGIN PGP SIGNED MESSAGE-----\nx", policy.Sealed), "die Unterschrift zählt nicht: bad signature")
		has(t, "done", h.says("bob", "!link "+code, policy.Signed), "Erledigt: was das IRC-Konto M auf corp tut, gilt ab jetzt als von dir")
		has(t, "IRC hears", h.heard(), "corp/nick: Das Konto M und bob auf Jabber sind jetzt eine Person.")
		has(t, "once", h.says("bob", "!link "+code, policy.Signed), "schon benutzt")
		has(t, "who was asked nothing", h.says("carol", "!link "+code, policy.Signed), "Not done: I know no such code")
		h.code("other", "carol")
		has(t, "another account", h.heard(), "carol: IRC account other on corp wants to act as you")
	})
	live(t, link.Staff, func(h *house) {
		h.speaks = "deutsch"
		h.open()
		has(t, "an admin is asked", h.says("alice", "!link "+h.code("M", "alice"), policy.Signed), "Du hast bewiesen", "Ein Admin muss noch zustimmen")
		has(t, "admins hear English", h.heard(), "admins: alice has proven that the IRC account M on corp is theirs")
		if _, err := h.Accept(h.ctx, "alice", "corp", "M", "root"); err != nil {
			t.Error(err)
		}
		has(t, "agreed", h.heard(), "alice: Ein Admin hat zugestimmt: was das IRC-Konto M auf corp tut")
	})
}

// An account may ask so often, a person guess so often.
func TestBounds(t *testing.T) {
	live(t, link.Open, func(h *house) {
		for range proof.MaxAsks {
			h.code("M", "bob")
		}
		has(t, "often", h.on("M", "!link bob"), "too often")
		for range proof.MaxTries {
			h.says("carol", "!link aaaa-bbbb-cccc-dddd-eeee", policy.Verified)
		}
		has(t, "guesses", h.says("carol", "!link "+h.code("C", "carol"), policy.Verified), "too often")
		has(t, "words", h.on("M", "!link a b"), "!link NAME")
		name := strings.Repeat("ä", 40)
		if answer := h.on("N", "!link "+name); !utf8.ValidString(answer) || !strings.Contains(answer, "If "+name[:60]+"… is known here") {
			t.Errorf("a long name is said back as %q", answer)
		}
		h.linked()
	})
}
