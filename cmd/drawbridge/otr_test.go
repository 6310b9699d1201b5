package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/otr"
)

// TestReloadOfOTR: a reload changes how the sessions of an account begin and what
// people's clients write, and one that is refused changes neither.
func TestReloadOfOTR(t *testing.T) {
	liveBot(t, func(b *bot, f *fakes, edit func(old, new string)) {
		edit("bridges:\n  dev:\n", "bridges:\n  dev:\n    schemes: [otr]\n")
		for i, who := range []string{"alice", "bob"} {
			jids := "    jids: [" + who + "@corp.example]\n"
			edit(jids, jids+"    otr: ["+strings.Repeat(string(rune('A'+i)), 40)+"]\n")
		}
		if _, err := b.reload(); err != nil {
			t.Fatal(err)
		}
		alice := &policy.Person{Name: "alice"}
		scheme, n := b.keys.otr["bot"], 0
		is := func(when string, asks bool, format otr.Format) {
			t.Helper()
			n++
			comes := e2ee.Peer{Account: "bot", Bare: "alice@corp.example", Resource: string(rune('a' + n)), Person: alice}
			if got := len(scheme.Arrive(comes, "", true)) > 0; got != asks {
				t.Errorf("%s: the bot asks for a session: %v, want %v", when, got, asks)
			}
			if got := b.keys.otrFormat(alice); got != format {
				t.Errorf("%s: format %v, want %v", when, got, format)
			}
		}
		is("at first", true, otr.FormatAuto)
		edit("    jid: bot@corp.example\n", "    jid: bot@corp.example\n    otr: {start: peer}\n")
		edit("    jids: [alice@corp.example]\n", "    jids: [alice@corp.example]\n    otr_text: html\n")
		f.refuse = errors.New("no such leg")
		if _, err := b.reload(); !errors.Is(err, errReload) {
			t.Fatalf("reload = %v, want it refused", err)
		}
		is("refused", true, otr.FormatAuto)
		f.refuse = nil
		if _, err := b.reload(); err != nil {
			t.Fatal(err)
		}
		is("reloaded", false, otr.FormatHTML)
		if b.keys.otr["bot"] != scheme {
			t.Error("the scheme was replaced: its sessions are lost")
		}
	})
}

func TestNeedRestart(t *testing.T) {
	liveBot(t, func(b *bot, _ *fakes, edit func(old, new string)) {
		edit("admin: {socket: admin.sock}", "admin: {socket: other.sock}\nstore: {memory: true}\nlog: {level: debug, format: json}")
		ch, err := b.reload()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"admin.socket", "store.memory", "log.format"} {
			if !slices.Contains(ch.NeedRestart, want) {
				t.Errorf("%q stands not among what needs a restart: %q", want, ch.NeedRestart)
			}
		}
	})
}
