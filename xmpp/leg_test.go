package xmpp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

const testRoom = "dev@rooms.x.org"

func withRoom() Config {
	c := testConfig()
	c.Rooms = []RoomConfig{{JID: testRoom, Nick: "bridge"}}
	return c
}

func seal(text string) *element.Element {
	return element.New(nsFake, "x").SetText(hex.EncodeToString([]byte(text)))
}

func (r *rig) lines(list *[]string) []string {
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	out := *list
	*list = nil
	return out
}

// online brings alice online and forgets the events so far.
func (r *rig) online(full string) {
	r.t.Helper()
	r.push("<presence from='" + full + "'><c xmlns='http://jabber.org/protocol/caps' node='https://gajim.org' ver='x' hash='sha-1'/></presence>")
	r.lines(&r.sink.events)
}

func (r *rig) joinRoom() {
	r.t.Helper()
	r.push("<presence from='" + testRoom + "/bridge'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='member' role='participant'/><status code='110'/></x></presence>")
	r.lines(&r.sink.events)
}

func chatOut(id, text string) bridge.Outgoing {
	return bridge.Outgoing{
		ID: id, To: bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}, Floor: policy.Sealed,
		Schemes: []string{"openpgp"}, Text: bridge.NewText(text),
	}
}

func roomOut(id, text string) bridge.Outgoing {
	m := bridge.Outgoing{ID: id, To: bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: testRoom}, Text: bridge.NewText(text)}
	m.Clear, _ = bridge.NewClearRoom(m.To, policy.Floor{})
	return m
}

func TestConfigSaysAllThatIsWrong(t *testing.T) {
	c := Config{
		JID: "conference.x.org", People: []policy.Person{
			{Name: "a", JIDs: []string{"a@x.org"}}, {Name: "b", JIDs: []string{"A@x.org"}}, {Name: "c"}, {Name: "a", JIDs: []string{"@"}},
		},
		Rooms: []RoomConfig{{JID: "dev@rooms.x.org/nick"}, {JID: "rooms.x.org"}, {JID: "a@x.org", Nick: "n"}},
	}
	_, err := New(c, Deps{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"an account needs a name", `"conference.x.org" is not an account's JID`, "a@x.org belongs to both a and b", "c has no JID",
		`two people of account  are called "a"`, `"@" is not a JID`, "leave out /nick", `"rooms.x.org" is not a room's JID`, "is a room and a JID of",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// TestOrderUnderParallelDecryption has two people's messages decrypted at once,
// the first one last: they are still handed over in the order of the wire, and
// none is acknowledged before the core has it.
func TestOrderUnderParallelDecryption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		gate := make(chan struct{})
		r.scheme.gate = map[string]chan struct{}{"slow": gate}
		r.sink.hold = true
		r.start()
		defer r.stop()
		r.lines(&r.sink.events)
		msg := func(from, text string) {
			r.st.Deliver(element.New(nsClient, "message", "from", from, "type", "chat").Add(seal(text)))
		}
		msg("alice@x.org/a", "slow")
		msg("alice@x.org/a", "a2")
		var want []string
		for i := range 50 {
			msg("bob@x.org/b", fmt.Sprint("b", i))
			want = append(want, fmt.Sprint("b", i))
		}
		r.push("<presence from='eve@x.org/a'/>")
		if got := r.lines(&r.sink.messages); len(got) != 0 {
			t.Fatalf("handed over before the first one was opened: %q", got)
		}
		close(gate)
		synctest.Wait()
		got := r.lines(&r.sink.messages)
		for i, l := range got {
			_, got[i], _ = strings.Cut(l, " | ")
		}
		if want = append([]string{"slow", "a2"}, want...); !slices.Equal(got, want) {
			t.Errorf("order:\n got %q\nwant %q", got, want)
		}
		if n := r.st.HandledCount(); n != 0 {
			t.Errorf("%d stanzas acknowledged before the core took the first message", n)
		}
		for i := len(r.sink.taken) - 1; i > 0; i-- { // all but the first, in any order
			r.sink.taken[i](true)
		}
		if n := r.st.HandledCount(); n != 0 {
			t.Errorf("%d stanzas acknowledged before the first one", n)
		}
		r.sink.taken[0](true)
		if n := r.st.HandledCount(); n != 53 {
			t.Errorf("%d stanzas acknowledged at the end, not 53", n)
		}
	})
}

// TestTwoCopiesInHand: a message that comes live and from an archive is opened once
// while the core does not have it, so that neither copy passes for a redelivered one.
// Later it is the core that knows it.
func TestTwoCopiesInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.sink.hold = true
		r.start()
		defer r.stop()
		msg := func(from, id string) {
			r.st.Deliver(element.New(nsClient, "message", "from", from, "type", "chat").Add(seal("x"),
				element.New(nsSID, "stanza-id", "by", r.leg.conf.Load().bare, "id", id)))
			synctest.Wait()
		}
		msg("alice@x.org/a", "1")
		msg("alice@x.org/a", "1")
		msg("alice@x.org/a", "2")
		msg("bob@x.org/b", "1")
		if got := r.lines(&r.sink.messages); len(got) != 3 {
			t.Fatalf("handed over: %q", got)
		}
		r.sink.taken[0](true)
		msg("alice@x.org/a", "1")
		if got := r.lines(&r.sink.messages); len(got) != 1 {
			t.Fatalf("handed over when the core had it: %q", got)
		}
	})
}

// TestReceiptOnlyAfterTaken holds the core's answer back.
// TestHostileStanzas shows that nothing a stanza holds ends the session.
func TestHostileStanzas(t *testing.T) {
	deep := element.New("x:y", "a")
	for range 30 {
		deep = element.New("x:y", "a").Add(deep)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.st.Skip(&stream.TooLargeError{Size: 50 << 20, Max: 256 << 10})
		r.st.Skip(&stream.MalformedError{Err: errors.New("entity")})
		for _, e := range []*element.Element{
			say(deep), say(nil),
			{Space: nsClient, Local: "message"},
			{Space: nsClient, Local: "iq"},
			{Space: "x:y", Local: "message"},
			{Space: nsClient, Local: "presence", Attr: []element.Attr{{Name: "from", Value: "////"}}},
			element.New(nsClient, "message", "from", testRoom+"/", "type", "groupchat").Add(element.New(nsClient, "body").SetText("x")),
			element.New(nsClient, "presence", "from", testRoom).Add(element.New(nsMUCUser, "x").Add(element.New(nsMUCUser, "item", "jid", "///"))),
			element.New(nsClient, "presence", "from", testRoom, "type", "unavailable"),
			// mellium's muc.Client choked on an invite like these
			element.New(nsClient, "message", "from", testRoom).Add(element.New(nsMUCUser, "x").Add(element.New(nsMUCUser, "invite", "from", "@@@"))),
			say(element.New("jabber:x:conference", "x", "jid", "@@@")),
			say(element.New(nsDelay, "delay", "stamp", "not a time"), element.New(nsClient, "body").SetText("delayed")),
			say(element.New(nsFake, "panic-claims")),
			say(seal("panic")),
			element.New(nsClient, "iq", "type", "set", "id", "1").Add(element.New(nsRoster, "query").Add(element.New(nsRoster, "item", "jid", "@"))),
			element.New(nsClient, "message", "type", "error", "from", "alice@x.org"),
			element.New(nsClient, "message", "type", "error", "from", testRoom).Add(element.New(nsClient, "error")),
		} {
			r.st.Deliver(e)
		}
		synctest.Wait()
		r.push("<message from='alice@x.org/a' type='chat'><body>still here</body></message>")
		all := strings.Join(r.lines(&r.sink.messages), "\n")
		if !strings.Contains(all, "still here") || r.st.Closed() {
			t.Fatalf("the session did not survive; messages:\n%s", all)
		}
		if r.leg.Counts()["malformed"] != 2 || r.leg.Counts()["panics"] != 2 {
			t.Errorf("counts: %v", r.leg.Counts())
		}
		if n := r.st.HandledCount(); n != 21 {
			t.Errorf("%d stanzas handled, not 21", n)
		}
	})
}

// TestFloods shows that floods are bounded.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		for i := range 20000 {
			switch i % 3 {
			case 0: // strangers, and resources of a contact
				r.st.Deliver(element.New(nsClient, "presence", "from", fmt.Sprintf("s%d@evil.org/r", i)))
				r.st.Deliver(element.New(nsClient, "presence", "from", fmt.Sprintf("alice@x.org/%d", i)))
			case 1: // occupants
				r.st.Deliver(element.New(nsClient, "presence", "from", fmt.Sprintf("%s/n%d", testRoom, i)).Add(element.New(nsMUCUser, "x")))
				r.st.Deliver(element.New(nsClient, "presence", "from", fmt.Sprintf("%s/m%d", testRoom, i)).Add(element.New(nsMUCUser, "x")))
			case 2: // questions
				r.st.Deliver(element.New(nsClient, "iq", "type", "get", "id", "x", "from", "eve@evil.org/a").Add(element.New("x:y", "z")))
			}
		}
		synctest.Wait()
		r.leg.mu.Lock()
		resources, occupants, strangers := len(r.leg.people["alice"].resources), len(r.leg.rooms[testRoom].occupants), len(r.leg.strangers)
		r.leg.mu.Unlock()
		if resources > maxResources || occupants > maxOccupants || strangers > maxStrangers {
			t.Errorf("%d resources, %d occupants, %d strangers remembered", resources, occupants, strangers)
		}
		if r.leg.Counts()["strangers"] == 0 {
			t.Error("strangers were not counted")
		}
		r.push("<message from='alice@x.org/1' type='chat'><body>still here</body></message>")
		if got := r.lines(&r.sink.messages); len(got) != 1 {
			t.Errorf("messages: %q", got)
		}
	})
}

// TestAnswersThatWait: answers to others are given up where too many of them wait, or
// one is too long; what is our own is not.
func TestAnswersThatWait(t *testing.T) {
	q, dropped := newOutQueue(), 0
	q.dropped = func() { dropped++ }
	for range outReplies + 50 {
		q.reply(element.New(nsClient, "iq"))
		q.own(element.New(nsClient, "presence"))
	}
	if n := len(q.next()); n != 2*outReplies+50 || dropped != 50 {
		t.Errorf("%d stanzas wait, %d were given up", n, dropped)
	}
	q.reply(element.New(nsClient, "iq", "id", strings.Repeat("x", maxReply)))
	q.reply(element.New(nsClient, "iq"))
	if n := len(q.next()); n != 1 || dropped != 51 {
		t.Errorf("then %d, %d", n, dropped)
	}
}

// TestStalledCore shows that a core that takes nothing stops the reader, and is
// not mistaken for a dead server.
func TestStalledCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.sink.stall = make(chan struct{})
		r.start()
		defer r.stop()
		r.push("<iq type='result' id='none'/>")
		for i := range 3 * pipeItems {
			r.st.Deliver(say(element.New(nsClient, "body").SetText(fmt.Sprint(i))))
		}
		time.Sleep(10 * time.Minute)
		if r.st.Closed() {
			t.Fatal("the stream was given up")
		}
		close(r.sink.stall)
		r.sink.mu.Lock()
		r.sink.stall = nil
		r.sink.mu.Unlock()
		synctest.Wait()
		got := r.lines(&r.sink.messages)
		if len(got) != 3*pipeItems {
			t.Fatalf("%d of %d messages arrived", len(got), 3*pipeItems)
		}
		for i, l := range got {
			if !strings.HasSuffix(l, fmt.Sprintf("| %d", i)) {
				t.Fatalf("message %d is %q", i, l)
			}
		}
	})
}

// TestCutPutsUnprovenInDoubt cuts the link under messages of all kinds.
// TestFailedWrite shows what a write that fails half-way means.
// TestNoPresenceWithoutSignature: an unsigned presence would switch Psi's
// encryption off, so there is none at all.
// TestTooLarge: a stanza above the server's limit would cost the stream, and
// resending it every stream after.
// TestReconnectPolicy drives the supervisor through failures.
// TestChannelBindingRefused: a server that offers channel binding and refuses it
// is not asked for it again.
// TestReconfigure changes people and rooms under a live stream.
// TestNoWayBackIn: a kick holds over a new stream, until somebody acts.
// TestSelfPing: a quiet room is asked whether we are in it, and joined again if
// we are not (XEP-0410).
// TestAckMissing: a server that does not answer a request for acknowledgement is
// gone, however much else it sends.
// TestManyChats: however many lines there are, one request is under way at a time,
// and all are proven.
// TestHiddenClient: who writes without showing a presence can be answered.
// TestRunTwice and the goodbye.
