package guard_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/policy"
)

const (
	doraKey  = "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD"
	otherKey = "EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE"
)

// inviting lets dora, who has a key and an account and may not join by herself, be
// invited to finance for an hour; erin, who has no account, too.
func inviting(cfg *guard.Config) {
	for _, name := range []string{"dora", "erin"} {
		p := person(name, "guests")
		p.OpenPGP = []string{doraKey}
		if name == "erin" {
			p.OpenPGP, p.OTR, p.IRC = nil, []string{otherKey}, nil
		}
		cfg.Policy.People = append(cfg.Policy.People, p)
	}
	cfg.Policy.Rules = append(cfg.Policy.Rules, policy.Rule{
		ID: "ticket", Rooms: []string{"finance"}, Do: []policy.Do{policy.Invite}, Who: policy.Who{Groups: []string{"guests"}, AtLeast: policy.Key}, Effect: policy.Allow, For: time.Hour,
	})
	cfg.Policy.Rules = append(cfg.Policy.Rules, policy.Rule{
		ID: "no-plain", Rooms: []string{"finance"}, Do: []policy.Do{policy.Join}, If: policy.If{TLS: policy.No}, Effect: policy.Kick, Reason: "TLS is required here",
	})
}

// invites runs test with a guard that invites.
func invites(t *testing.T, change func(*guard.Config), test func(h *house)) {
	t.Helper()
	set := func(cfg *guard.Config) {
		inviting(cfg)
		if change != nil {
			change(cfg)
		}
	}
	liveWith(t, set, func(d *guard.Deps) {
		d.Verify = verify
	}, func(h *house) {
		h.irc.Online("dora_", onIRC("dora_", "dora"))
		h.irc.Online("eve", onIRC("eve", ""))
		h.irc.Online("carol", onIRC("carol", "carol"))
		h.irc.Online("plain", func() policy.Facts { f := onIRC("plain", "dora"); f.TLS = policy.IsNot("WHOIS", time.Time{}); return f }())
		test(h)
	})
}

// signed is what verify reads: a key, when, and the text.
func signed(key string, at time.Time, text string) string {
	return fmt.Sprintf("Hi!\n-----BEGIN PGP SIGNED MESSAGE-----|%s|%d|%s", key, at.Unix(), text)
}

func verify(c *bridge.Claim) (guard.Signed, error) {
	_, rest, _ := strings.Cut(c.Text, "|")
	f := strings.SplitN(rest, "|", 3)
	if len(f) != 3 || f[0] == "" {
		return guard.Signed{}, errors.New("signature: does not fit the text")
	}
	at, _ := strconv.ParseInt(f[1], 10, 64)
	rung := policy.Verified
	if f[0] == otherKey {
		rung = policy.Signed
	}
	return guard.Signed{Text: f[2], At: time.Unix(at, 0), Fingerprint: f[0], Rung: rung}, nil
}

// say is what the guard answers to a person in their own chat.
func (h *house) say(person, text string, rung policy.Rung) string {
	return h.sayBy(person, text, rung, "")
}

// sayBy is say, by a key.
func (h *house) sayBy(person, text string, rung policy.Rung, key string) string {
	return h.g.Prove(context.Background(), &bridge.Claim{Text: text, Person: person, JID: person + "@corp.example", Leg: "bot", Bot: "bridge@corp.example", Rung: rung, Key: key})
}

// aside is what it answers on IRC.
func (h *house) aside(f policy.Facts, words ...string) string {
	return h.g.Aside(context.Background(), bridge.Aside{Leg: "corp", From: f, Words: words})
}

var codeForm = regexp.MustCompile(`\b([a-z2-7]{4}-){4}[a-z2-7]{4}\b`)

// ask asks, and returns the code of the answer and its last line.
func (h *house) ask(person, text string, rung policy.Rung) (code, line string) {
	h.t.Helper()
	answer := h.say(person, text, rung)
	if code = codeForm.FindString(answer); code == "" {
		h.t.Fatalf("%s: %s is answered %q", person, text, answer)
	}
	return code, answer[strings.LastIndex(answer, "\n")+1:]
}

func (h *house) answers(what, got, want string) {
	h.t.Helper()
	if !strings.Contains(got, want) {
		h.t.Errorf("%s is answered %q, want %q", what, got, want)
	}
}

// In a session by a verified key: the code goes back in it, and the account may come.
func TestInviteInSession(t *testing.T) {
	invites(t, nil, func(h *house) {
		code, line := h.ask("dora", "invite corp/#Finance DORA_", policy.Verified)
		if line != "!invite "+code {
			t.Errorf("to be answered by %q", line)
		}
		h.answers("the code", h.say("dora", line, policy.Verified), "dora_ is invited to #finance on corp. The account dora may be there until")
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "MODE #finance +I R:dora", "INVITE dora_ #finance 600")
		h.irc.Join(channel, onIRC("dora_", "dora"))
		h.wait(time.Second)
		if got := h.irc.Lines(); strings.Contains(strings.Join(got, "\n"), "KICK") {
			t.Errorf("dora goes: %q", got)
		}
		if r := h.g.In(&bridge.Message{Room: channel, From: bridge.Sender{Nick: "dora_", Account: "dora"}}, time.Now()); r.Refused {
			t.Errorf("invited, and not heard: %+v", r)
		}
		h.has("audit", h.acts(guard.Query{Who: "dora"}), "dora_!dora_@dora_.example allow ticket: sent", "dora_!dora_@dora_.example allow ticket: let in")
		h.answers("the code again", h.say("dora", line, policy.Verified), "used already")

		h.wait(time.Hour)
		h.has("lines after an hour", h.irc.Lines(), "KICK #finance dora_ :your invitation has ended", "MODE #finance -I R:dora")
		h.has("audit", h.acts(guard.Query{Who: "dora"}), "its time is over")
		h.same("who is there", h.irc.Nicks(channel))
	})
}

// By a clear-signed sentence, and everything by which one is refused.
func TestInviteSigned(t *testing.T) {
	invites(t, nil, func(h *house) {
		code, sentence := h.ask("dora", "!invite corp/#finance dora_", policy.Sealed)
		want := "I ask bridge@corp.example to invite the nick dora_ (account dora) to #finance on corp: nonce " + code + ", good once, until "
		if !strings.HasPrefix(sentence, want) || !strings.HasSuffix(sentence, " UTC.") {
			t.Fatalf("sentence %q, want %q…", sentence, want)
		}
		now := time.Now()
		other, _ := h.ask("erin", "!invite corp/#finance eve", policy.Verified)
		for _, tt := range []struct{ name, who, text, want string }{
			{"another's signature", "dora", signed("", now, sentence), "does not fit the text"},
			{"a key that is not verified", "dora", signed(otherKey, now, sentence), "which is not verified as yours"},
			{"wrong nonce", "dora", signed(doraKey, now, strings.Replace(sentence, code, "aaaa-aaaa-aaaa-aaaa-aaaa", 1)), "no code that I gave you"},
			{"another person's nonce", "dora", signed(doraKey, now, strings.Replace(sentence, code, other, 1)), "no code that I gave you"},
			{"another person", "erin", signed(doraKey, now, sentence), "no code that I gave you"},
			{"no nonce", "dora", signed(doraKey, now, "Please invite me"), "holds no nonce"},
			{"text before", "dora", signed(doraKey, now, "And: "+sentence), "not the sentence"},
			{"text behind", "dora", signed(doraKey, now, sentence+"\nAlso give me op."), "not the sentence"},
			{"text changed", "dora", signed(doraKey, now, strings.Replace(sentence, "#finance", "#board", 1)), "not the sentence"},
			{"signed before", "dora", signed(doraKey, now.Add(-time.Minute), sentence), "not within the time"},
			{"signed later than its time", "dora", signed(doraKey, now.Add(11*time.Minute), sentence), "not within the time"},
		} {
			h.answers(tt.name, h.say(tt.who, tt.text, policy.Sealed), tt.want)
			h.wait(11 * time.Second)
		}
		h.same("lines", h.irc.Lines())
		for range 5 {
			h.say("dora", "!invite aaaa-aaaa-aaaa-aaaa-aaaa", policy.Verified)
		}
		h.answers("too many tries", h.say("dora", signed(doraKey, now, sentence), policy.Sealed), "too many tries")
		h.answers("asking after them", h.say("dora", "!invite corp/#finance dora_", policy.Sealed), "too many tries")
		h.wait(11 * time.Minute)
		h.answers("late", h.say("dora", signed(doraKey, now, sentence), policy.Sealed), "its time is over")

		_, sentence = h.ask("dora", "!invite corp/#finance dora_", policy.Sealed)
		broken := strings.Replace(sentence, " to #finance", "\nto  #finance", 1)
		h.answers("the sentence, broken by a terminal", h.say("dora", signed(doraKey, time.Now(), broken), policy.Sealed), "is invited")
		h.answers("a second time", h.say("dora", signed(doraKey, time.Now(), sentence), policy.Sealed), "used already")
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "INVITE dora_ #finance 600")
	})
}

// What is refused before anything is asked.
func TestInviteRefusedAtOnce(t *testing.T) {
	invites(t, func(cfg *guard.Config) {
		cfg.Policy.People = append(cfg.Policy.People, person("frank", "guests"))
	}, func(h *house) {
		for _, tt := range []struct {
			name, who, text string
			rung            policy.Rung
			want            string
		}{
			{"nothing", "dora", "!invite", policy.Verified, "Write: !invite"},
			{"an unknown room", "dora", "!invite corp/#board dora_", policy.Verified, "no room called"},
			{"a channel without a nick", "dora", "!invite corp/#finance", policy.Verified, "Write: !invite"},
			{"nobody has the nick", "dora", "!invite corp/#finance ghost", policy.Verified, "nobody has the nick ghost"},
			{"another's nick", "dora", "!invite corp/#finance carol", policy.Verified, "somebody else's"},
			{"the policy says no", "carol", "!invite corp/#finance carol", policy.Verified, "no key is verified as yours"},
			{"no key proves them", "frank", "!invite corp/#finance eve", policy.Verified, "no key is verified as yours"},
			{"no rule lets them", "dora", "!invite corp/#lobby dora_", policy.Verified, "no rule lets you"},
			{"a rule would not let them in", "dora", "!invite corp/#finance plain", policy.Verified, "TLS is required here"},
			{"a message that proves too little, and no key to sign by", "erin", "!invite corp/#finance eve", policy.Sealed, "Write from a session by a verified key"},
			{"a code of nobody", "dora", "!invite aaaa-aaaa-aaaa-aaaa-aaaa", policy.Verified, "no code that I gave you"},
		} {
			h.answers(tt.name, h.say(tt.who, tt.text, tt.rung), tt.want)
		}
		code, _ := h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		h.answers("an answer that proves too little", h.say("dora", "!invite "+code, policy.Signed), "this takes verified")
		stale := h.g.Prove(context.Background(), &bridge.Claim{Text: "!invite " + code, Person: "dora", JID: "dora@corp.example", Leg: "bot", Rung: policy.Verified, Stale: true})
		h.answers("one that was held back", stale, "long on its way")
		if _, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "dora", By: "alice"}); err != nil {
			t.Fatal(err)
		}
		h.answers("who was banned meanwhile", h.say("dora", "!invite "+code, policy.Verified), "no rule lets you")
		h.wait(time.Second)
		for _, line := range h.irc.Lines() {
			if strings.HasPrefix(line, "INVITE") {
				t.Errorf("invited: %s", line)
			}
		}
	})
}

// A nick without the person's account sends a second code, from the very user@host that
// was looked up; the stay is of that connection.
func TestInviteBySecondCode(t *testing.T) {
	invites(t, nil, func(h *house) {
		first, _ := h.ask("erin", "!invite corp/#finance eve", policy.Verified)
		answer := h.say("erin", "!invite "+first, policy.Verified)
		h.answers("the first code", answer, "/msg bridge !invite ")
		code := codeForm.FindString(answer)
		if code == "" || code == first {
			t.Fatalf("codes %q and %q", first, code)
		}
		eve := onIRC("eve", "")
		elsewhere := eve
		elsewhere.Host = "other.example"
		renamed := eve
		renamed.Nick = "mallory"
		h.answers("the first code, on IRC", h.aside(eve, "!invite", first), "no code that I gave you")
		h.answers("another host", h.aside(elsewhere, "!invite", code), "another connection")
		h.answers("another nick", h.aside(renamed, "!invite", code), "another nick")
		h.has("told", h.told["erin"], "Your code for #finance on corp came from eve!eve@other.example", "came from mallory!eve@eve.example")
		h.answers("another code", h.aside(eve, "!invite", "aaaa-aaaa-aaaa-aaaa-aaaa"), "no code that I gave you")
		if got := h.aside(eve, "!invite", "me"); got != "" {
			t.Errorf("who has no code is answered %q", got)
		}
		h.answers("the second code, on Jabber", h.say("erin", "!invite "+code, policy.Verified), "no code that I gave you")
		h.wait(time.Second)
		h.same("lines", h.irc.Lines())
		h.answers("the second code", h.aside(eve, "!invite", strings.ToUpper(code)), "eve is invited to #finance on corp: join until")
		h.has("told", h.told["erin"], "eve is invited to #finance")
		h.answers("used twice", h.aside(eve, "!invite", code), "used already")
		h.wait(time.Second)
		h.same("lines", h.irc.Lines(), "INVITE eve #finance 600")

		t.Log("another with that nick is not who was invited")
		h.irc.Join(channel, elsewhere)
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "KICK #finance eve")
		h.irc.Join(channel, eve)
		h.wait(30 * time.Minute)
		h.same("lines", h.irc.Lines())
		h.same("who is there", h.irc.Nicks(channel), "eve")

		t.Log("it goes on with another nick, and ends with the visit")
		h.irc.Learn(channel, "eve", func(f *policy.Facts) { f.Nick = "eve2" })
		h.wait(time.Minute)
		h.same("who is there", h.irc.Nicks(channel), "eve2")
		h.irc.Part(channel, "eve2", false)
		h.irc.Join(channel, renamed)
		eve2 := eve
		eve2.Nick = "eve2"
		h.irc.Join(channel, eve2)
		h.wait(time.Second)
		h.same("who is there", h.irc.Nicks(channel))
	})
}

// Who does not come in within the time has to ask anew.
func TestInviteRunsOut(t *testing.T) {
	invites(t, nil, func(h *house) {
		first, _ := h.ask("erin", "!invite corp/#finance eve", policy.Verified)
		code := codeForm.FindString(h.say("erin", "!invite "+first, policy.Verified))
		eve := onIRC("eve", "")
		h.wait(11 * time.Minute)
		h.answers("the second code, late", h.aside(eve, "!invite", code), "its time is over")
		first, _ = h.ask("erin", "!invite corp/#finance eve", policy.Verified)
		code = codeForm.FindString(h.say("erin", "!invite "+first, policy.Verified))
		h.answers("the second code", h.aside(eve, "!invite", code), "is invited")
		h.wait(11 * time.Minute)
		h.irc.Lines()
		h.irc.Join(channel, eve)
		h.wait(time.Second)
		h.has("lines", h.irc.Lines(), "KICK #finance eve")
	})
}

// A MUC's membership ends by itself, and what the server holds is taken back.
func TestInviteIntoMUC(t *testing.T) {
	invites(t, nil, func(h *house) {
		code, sentence := h.ask("dora", "!invite finance@rooms.corp.example", policy.Sealed)
		h.answers("the sentence", sentence, "I ask bridge@corp.example to let dora@corp.example into finance@rooms.corp.example: nonce "+code)
		h.answers("the answer", h.say("dora", signed(doraKey, time.Now(), sentence), policy.Sealed), "dora@corp.example is a member of finance@rooms.corp.example until")
		h.wait(time.Second)
		lines := strings.Join(h.xmpp.Lines(), "\n")
		if !strings.Contains(lines, "member dora@corp.example") || strings.Count(lines, "dora") != 2 {
			t.Errorf("carried out:\n%s", lines)
		}
		h.xmpp.Join(muc, onXMPP("Dora", "dora@corp.example"))
		h.wait(30 * time.Minute)
		h.same("who is there", h.xmpp.Nicks(muc), "Dora")
		h.same("carried out", h.xmpp.Lines())
		h.wait(31 * time.Minute)
		h.has("carried out", h.xmpp.Lines(), "none dora@corp.example")
		h.wait(6 * time.Minute)
		k, err := h.store.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range k.Timers {
			if x.Kind == "member" {
				t.Errorf("still kept: %+v", x)
			}
		}
	})
}

// Guests whose time is over go whatever the budget of a small room: that is no mistake
// of the rules, and the room is not shut for it.
func TestGuestsGoWhateverTheBudget(t *testing.T) {
	invites(t, nil, func(h *house) {
		for _, name := range []string{"dora", "erin"} {
			code, _ := h.ask(name, "!invite finance@rooms.corp.example", policy.Verified)
			h.answers("the code", h.say(name, "!invite "+code, policy.Verified), "is a member of")
			h.wait(time.Second)
			h.xmpp.Join(muc, onXMPP(name, name+"@corp.example"))
		}
		h.wait(30 * time.Minute)
		h.same("who is there", h.xmpp.Nicks(muc), "dora", "erin")
		h.wait(31 * time.Minute)
		h.same("who is there", h.xmpp.Nicks(muc))
		if s := h.g.Status().Rooms[0]; !s.Shut.IsZero() || len(s.Alarms) > 0 {
			t.Errorf("shut until %v, alarms %q", s.Shut, s.Alarms)
		}
	})
}

// A restart at each step changes nothing: tickets, stays and entries are kept, codes are
// not.
func TestInviteOutlivesRestarts(t *testing.T) {
	invites(t, nil, func(h *house) {
		restart := func() {
			h.wait(time.Second)
			h.stop()
			h.start()
			h.ready()
		}
		first, _ := h.ask("erin", "!invite corp/#finance eve", policy.Verified)
		k, err := h.store.Load(context.Background())
		if err != nil || len(k.Tickets) != 1 || strings.Contains(fmt.Sprintf("%+v", k.Tickets[0]), first) {
			t.Fatalf("kept: %+v, %v", k.Tickets, err)
		}
		restart()
		code := codeForm.FindString(h.say("erin", "!invite "+first, policy.Verified))
		restart()
		h.answers("the first code again", h.say("erin", "!invite "+first, policy.Verified), "no code that I gave you")
		h.answers("the second code", h.aside(onIRC("eve", ""), "!invite", code), "is invited")
		restart()
		h.irc.Join(channel, onIRC("eve", ""))
		h.wait(time.Second)
		h.same("who is there", h.irc.Nicks(channel), "eve")
		code, _ = h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		h.answers("dora", h.say("dora", "!invite "+code, policy.Verified), "is invited")
		restart()
		h.same("who is there", h.irc.Nicks(channel), "eve")
		h.wait(time.Hour)
		restart()
		h.wait(10 * time.Minute)
		h.same("who is there", h.irc.Nicks(channel))
		h.irc.Change(channel, func(p *guardtestPlace) {
			if strings.Contains(strings.Join(p.Lists['I'], " "), "R:dora") {
				t.Errorf("+I is still %q", p.Lists['I'])
			}
		})
		if k, err = h.store.Load(context.Background()); err != nil || len(k.Tickets) != 0 {
			t.Errorf("kept: %+v, %v", k.Tickets, err)
		}
	})
}

// While the store fails nothing is told that would have to be remembered, and nothing
// that was proven is used.
func TestInviteNeedsTheStore(t *testing.T) {
	invites(t, nil, func(h *house) {
		code, _ := h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		h.store.(*failing).set(true)
		h.answers("asking", h.say("erin", "!invite corp/#finance eve", policy.Verified), "cannot write it down")
		h.answers("answering", h.say("dora", "!invite "+code, policy.Verified), "cannot write it down")
		h.store.(*failing).set(false)
		h.answers("answering again", h.say("dora", "!invite "+code, policy.Verified), "used already")
		h.wait(time.Minute)
		h.same("lines", h.irc.Lines())
		code, _ = h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		h.answers("anew", h.say("dora", "!invite "+code, policy.Verified), "is invited")
	})
}

// A ticket that ends before it is written down is not told of.
func TestInviteEndsWhileItIsWritten(t *testing.T) {
	invites(t, nil, func(h *house) {
		h.store.(*failing).set(true)
		answer := make(chan string, 1)
		go func() { answer <- h.say("dora", "!invite corp/#finance dora_", policy.Verified) }()
		h.wait(time.Second)
		h.g.OffBoard(guard.Leaver{Person: "dora", Why: "a key was revoked"})
		h.store.(*failing).set(false)
		h.wait(4 * time.Second)
		h.answers("asking", <-answer, "ended while it was written down")
		if k, err := h.store.Load(t.Context()); err != nil || len(k.Tickets) > 0 {
			t.Errorf("kept: %+v, %v", k.Tickets, err)
		}
	})
}

// Whose key is gone, or who was banned, is out at once; the ticket and what the server
// holds go too.
func TestInviteEndsWithTheKey(t *testing.T) {
	invites(t, nil, func(h *house) {
		code, _ := h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		h.say("dora", "!invite "+code, policy.Verified)
		h.wait(time.Second)
		h.irc.Join(channel, onIRC("dora_", "dora"))
		open, _ := h.ask("dora", "!invite finance@rooms.corp.example", policy.Verified)
		h.wait(time.Second)
		h.irc.Lines()
		cfg := h.cfg
		cfg.Policy.People = nil
		for _, p := range h.cfg.Policy.People {
			gone := *p
			if p.Name == "dora" {
				gone.OpenPGP = nil
			}
			cfg.Policy.People = append(cfg.Policy.People, &gone)
		}
		must(t, h.g.Reload(cfg))
		h.g.OffBoard(guard.Leaver{Person: "dora", Why: "a key was revoked"})
		h.wait(3 * time.Second)
		h.has("lines", h.irc.Lines(), "KICK #finance dora_", "MODE #finance -I R:dora")
		must(t, h.g.Reload(h.cfg))
		h.answers("a ticket of before", h.say("dora", "!invite "+open, policy.Verified), "its time is over")
	})
}

// What one key let in goes with that key, though the person has another.
func TestInviteEndsWithItsKey(t *testing.T) {
	invites(t, nil, func(h *house) {
		with := func(keys ...string) {
			cfg := h.cfg
			cfg.Policy.People = nil
			for _, p := range h.cfg.Policy.People {
				other := *p
				if p.Name == "dora" {
					other.OpenPGP = keys
				}
				cfg.Policy.People = append(cfg.Policy.People, &other)
			}
			must(t, h.g.Reload(cfg))
			h.wait(time.Second)
		}
		const second = "5555555555555555555555555555555555555555"
		with(doraKey, second)
		code, _ := h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		h.answers("by a key that is not hers", h.sayBy("dora", "!invite "+code, policy.Verified, otherKey), "not verified as yours now")
		h.answers("by the second", h.sayBy("dora", "!invite "+code, policy.Verified, second), "is invited")
		h.wait(time.Second)
		h.irc.Join(channel, onIRC("dora_", "dora"))
		h.wait(time.Second)
		h.irc.Lines()
		with(second)
		h.wait(3 * time.Second)
		h.same("as the first key ends", h.irc.Lines())
		with(doraKey)
		h.wait(3 * time.Second)
		h.has("as the second ends", h.irc.Lines(), "KICK #finance dora_", "MODE #finance -I R:dora")
	})
}

// In a dry run nothing is done; in a lockdown nobody is invited.
func TestInviteWhereNothingIsDone(t *testing.T) {
	invites(t, func(cfg *guard.Config) { cfg.Rooms[0].DryRun = true }, func(h *house) {
		code, _ := h.ask("dora", "!invite corp/#finance dora_", policy.Verified)
		h.answers("in a dry run", h.say("dora", "!invite "+code, policy.Verified), "dry run")
		h.wait(time.Second)
		h.same("lines", h.irc.Lines())
		h.has("audit", h.acts(guard.Query{Who: "dora_"}), "dry run")
	})
	invites(t, nil, func(h *house) {
		if _, err := h.g.Lockdown(context.Background(), "finance", time.Hour, "alice"); err != nil {
			t.Fatal(err)
		}
		h.answers("in a lockdown", h.say("dora", "!invite corp/#finance dora_", policy.Verified), "shut for now")
	})
}

// What is taken for an answer or an ask, of all that people say to everybody.
func TestClaims(t *testing.T) {
	invites(t, nil, func(h *house) {
		block := signed(doraKey, time.Now(), "whatever")
		if h.g.Claims("dora", block) {
			t.Error("a signed text of somebody who was asked for none is for everybody")
		}
		h.ask("dora", "!invite corp/#finance dora_", policy.Sealed)
		for text, want := range map[string]bool{
			block: true, "invite corp/#finance dora_": true, "Invite corp/#FINANCE dora_": true, "invite corp/#typo dora_": true,
			"invite finance@rooms.corp.example": true, "invite aaaa-aaaa-aaaa-aaaa-aaaa": true,
			"invite bob to the party": false, "invite bob tomorrow": false, "invite": false, "invited corp/#finance dora_": false,
			"invite bob@corp.example please": false, "invite corp/#finance dora_ please": false, "invite x/# y": true, "hello": false,
		} {
			if text == "invite x/# y" {
				want = false // no such network
			}
			if got := h.g.Claims("dora", text); got != want {
				t.Errorf("Claims(%q) = %v", text, got)
			}
		}
		if h.g.Claims("erin", block) {
			t.Error("a signed text of erin, who was asked for none")
		}
	})
}
