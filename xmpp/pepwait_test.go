package xmpp

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// newPEPRig is a started leg with a scheme that announces keys, and what it sends.
func newPEPRig(t *testing.T, conf Config) (*rig, *fakeAnnouncer, *outbox) {
	t.Helper()
	r := newRig(t, conf)
	scheme := &fakeAnnouncer{fakeScheme: r.scheme}
	leg, err := New(conf, Deps{Schemes: []e2ee.Scheme{scheme}, Cores: 1, Dial: r.dial})
	if err != nil {
		t.Fatal(err)
	}
	r.leg = leg
	return r, scheme, &outbox{r: r}
}

// has reports whether a stanza with mark was sent and not taken.
func (o *outbox) has(mark string) bool {
	o.r.t.Helper()
	synctest.Wait()
	for e := o.r.st.Sent(); e != nil; e = o.r.st.Sent() {
		o.list = append(o.list, string(element.AppendXML(nil, e, nsClient)))
	}
	return slices.ContainsFunc(o.list, func(xml string) bool { return strings.Contains(xml, mark) })
}

// sleep lets time pass, and answers pings.
func (o *outbox) sleep(d time.Duration) {
	for range d / time.Second {
		time.Sleep(time.Second)
		if o.has("urn:xmpp:ping") {
			o.r.answer(o.take("urn:xmpp:ping"), "x.org", "")
		}
	}
}

// texts returns what the sink was given, without how.
func (r *rig) texts() []string {
	out := r.lines(&r.sink.messages)
	for i, l := range out {
		_, out[i], _ = strings.Cut(l, " | ")
	}
	return out
}

const items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='test:keys'><item id='1'/></items></pubsub>"

// TestMessagesWaitForTheKey: what a contact signed by a key that is being asked for is
// opened once it is there, in its order; others wait for nothing, and nothing waits
// for good.
func TestMessagesWaitForTheKey(t *testing.T) {
	msg := func(who, text string) string {
		return "<message from='" + who + "@x.org/a' type='chat'>" + string(element.AppendXML(nil, seal(text), nsClient)) + "</message>"
	}
	for _, tt := range []struct {
		name string
		ends func(r *rig, sent *outbox, list string)
	}{
		{"the key comes", func(r *rig, sent *outbox, list string) {
			r.answer(list, "alice@x.org", items)
			r.scheme.setReach("alice", nil)
			r.answer(sent.take("test:keys:1"), "alice@x.org", strings.ReplaceAll(items, "test:keys", "test:keys:1"))
			r.answer(sent.take("urn:xmpp:ping"), "x.org", "")
		}},
		{"there is none", func(r *rig, sent *outbox, list string) {
			r.answer(list, "alice@x.org", refusedBy)
			r.answer(sent.take("urn:xmpp:ping"), "x.org", "")
		}},
		{"her server says nothing", func(r *rig, sent *outbox, _ string) {
			sent.sleep(2 * keylessFor)
		}},
		{"she says too much", func(r *rig, _ *outbox, _ string) {
			for range maxKeyless {
				r.push(msg("alice", "three"))
			}
		}},
		{"she is taken out", func(r *rig, sent *outbox, list string) {
			conf := r.conf
			conf.People = conf.People[1:]
			if err := r.leg.Reconfigure(conf); err != nil {
				r.t.Fatal(err)
			}
			r.answer(list, "alice@x.org", refusedBy)
			r.answer(sent.take("urn:xmpp:ping"), "x.org", "")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conf := testConfig()
				conf.People[1].JIDs = conf.People[1].JIDs[:1]
				r, _, sent := newPEPRig(t, conf)
				r.scheme.setReach("alice", e2ee.ErrNoKey)
				r.start()
				defer r.stop()
				list := sent.take("to='alice@x.org'")
				for _, text := range []string{"one", "two"} {
					r.push(msg("alice", text))
				}
				r.push(msg("bob", "bob's"))
				if got := r.texts(); !slices.Equal(got, []string{"bob's"}) {
					t.Errorf("before the key: %q", got)
				}
				acked := r.st.HandledCount()
				tt.ends(r, sent, list)
				synctest.Wait()
				got, want := r.texts(), []string{"one", "two"}
				if tt.name == "she is taken out" {
					want = []string{}
				}
				if len(got) > 2 {
					got = got[:2]
				}
				if !slices.Equal(got, want) {
					t.Errorf("after it: %q", got)
				}
				if n := r.st.HandledCount(); n < acked+3 {
					t.Errorf("%d stanzas were acknowledged, %d before", n, acked)
				}
			})
		})
	}
}

// TestOwnKeysReplaced: another client of the bot's account publishes its keys in the
// place of ours. Ours are published again, and two that insist tire.
func TestOwnKeysReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := testConfig()
		conf.People = conf.People[:1]
		r, _, sent := newPEPRig(t, conf)
		r.start()
		defer r.stop()
		r.answer(sent.take("<publish"), "bot@x.org", "")
		theirs := strings.ReplaceAll(items, "<item id='1'/>", "<item id='current'><key xmlns='test:keys'>theirs</key></item>")
		ours := strings.ReplaceAll(theirs, "theirs", "bot@x.org")
		news := func(node string) {
			r.push("<message from='bot@x.org' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='" + node + "'><item id='current'/></items></event></message>")
		}
		// looks takes the questions to our own account.
		looks := func() (out []string) {
			for sent.has("<items") {
				if xml := sent.take("<items"); !strings.Contains(xml, "alice@x.org") {
					out = append(out, xml)
				}
			}
			return out
		}
		news("other:node")
		if asked := looks(); len(asked) > 0 {
			t.Errorf("asked for no reason: %q", asked)
		}
		for i := range ownBurst + 3 {
			news("test:keys")
			asked := looks()
			if n := min(1, max(0, ownBurst-i)); len(asked) != n {
				t.Fatalf("look %d: asked %q", i, asked)
			}
			if len(asked) == 0 {
				continue
			}
			answer := theirs
			if i == 0 {
				answer = ours
			}
			r.answer(asked[0], "bot@x.org", answer)
			published := sent.has("<publish")
			if published != (i > 0) {
				t.Errorf("look %d: published %v", i, published)
			}
			if published {
				r.answer(sent.take("<publish"), "bot@x.org", "")
			}
		}
		sent.sleep(ownAgain + time.Minute)
		if asked := looks(); len(asked) != 1 {
			t.Errorf("the news that came too often is never looked at: %q", asked)
		}
	})
}

// TestSignatureNoteEnds: that a presence is not signed by a key that counts is said
// only as long as it is so.
func TestSignatureNoteEnds(t *testing.T) {
	note := func(r *rig) bool {
		synctest.Wait()
		return strings.Contains(strings.Join(r.leg.Status().Notes, "\n"), "alice's presence is not signed")
	}
	for _, tt := range []struct {
		name string
		ends func(r *rig, list string)
	}{
		{"the key comes by PEP", func(r *rig, list string) { r.answer(list, "alice@x.org", items) }},
		{"the key is imported", func(r *rig, _ string) { r.leg.KeysChanged() }},
		{"the key is accepted", func(r *rig, _ string) { r.leg.TrustChanged("alice") }},
		{"she goes", func(r *rig, _ string) { r.push("<presence from='alice@x.org/a' type='unavailable'/>") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conf := testConfig()
				conf.People = []policy.Person{conf.People[0]}
				r, scheme, sent := newPEPRig(t, conf)
				scheme.takes = true
				r.start()
				defer r.stop()
				r.answer(sent.take("jabber:iq:roster"), "bot@x.org", "<query xmlns='jabber:iq:roster'><item jid='alice@x.org' subscription='both'/></query>")
				list := sent.take("to='alice@x.org'")
				r.push("<presence from='alice@x.org/a'><x xmlns='jabber:x:signed'>later</x></presence>")
				if !note(r) {
					t.Fatalf("no note: %q", r.leg.Status().Notes)
				}
				r.scheme.setSigned("later")
				if !note(r) {
					t.Fatal("the note went by itself")
				}
				tt.ends(r, list)
				if note(r) {
					t.Error("the note stays")
				}
			})
		})
	}
}
