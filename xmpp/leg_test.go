package xmpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
	"drawbridge/xmpp/xmpptest"
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

// TestReceiptOnlyAfterTaken holds the core's answer back.
func TestReceiptOnlyAfterTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.sink.hold = true
		r.start()
		defer r.stop()
		r.skipStart()
		for _, id := range []string{"one", "two"} {
			r.push("<message from='alice@x.org/a' id='" + id + "' type='chat'><body>x</body><request xmlns='urn:xmpp:receipts'/></message>")
		}
		if e := r.st.Sent(); e != nil {
			t.Fatalf("sent before the core took the message: %s", xmpptest.XML(e))
		}
		r.sink.taken[0](false) // refused: no receipt, ever
		r.sink.taken[1](true)
		synctest.Wait()
		e := r.st.Sent()
		if e.Child(nsReceipts, "received").Get("id") != "two" || r.st.Sent() != nil {
			t.Errorf("receipts: %s", xmpptest.XML(e))
		}
	})
}

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
			say(deep), say(nil), {Space: nsClient, Local: "message"}, {Space: nsClient, Local: "iq"}, {Space: "x:y", Local: "message"},
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
		resources, occupants := len(r.leg.people["alice"].resources), len(r.leg.rooms[testRoom].occupants)
		r.leg.mu.Unlock()
		if resources > maxResources || occupants > maxOccupants {
			t.Errorf("%d resources, %d occupants remembered", resources, occupants)
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
func TestCutPutsUnprovenInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.online("alice@x.org/a")
		ctx := context.Background()
		for i := range 3 {
			if err := r.leg.Send(ctx, chatOut(fmt.Sprint("c", i), "x")); err != nil {
				t.Fatal(err)
			}
			if err := r.leg.Send(ctx, roomOut(fmt.Sprint("r", i), "x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		r.push("<message from='" + testRoom + "/bridge' type='groupchat' id='r0'><body>x</body></message>")
		r.st.Fail(io.ErrUnexpectedEOF)
		synctest.Wait()
		want := []string{"delivered " + testRoom + " r0", "doubt alice c0", "doubt alice c1", "doubt " + testRoom + " r1", "doubt alice c2", "doubt " + testRoom + " r2"}
		if got := r.lines(&r.sink.proofs); !slices.Equal(got, want) {
			t.Errorf("proofs:\n got %q\nwant %q", got, want)
		}
		if err := r.leg.Send(ctx, roomOut("r4", "x")); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("Send while down: %v", err)
		}
	})
}

// TestFailedWrite shows what a write that fails half-way means.
func TestFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.online("alice@x.org/a")
		r.st.FailSends(errors.New("broken pipe"))
		if err := r.leg.Send(context.Background(), chatOut("c", "x")); err != nil {
			t.Errorf("chat: %v", err)
		}
		if err := r.leg.Send(context.Background(), roomOut("r", "x")); err != nil {
			t.Errorf("room: %v", err)
		}
		if got, want := r.lines(&r.sink.proofs), []string{"doubt alice c", "doubt " + testRoom + " r"}; !slices.Equal(got, want) {
			t.Errorf("proofs: %q", got)
		}
		r.st.FailSends(stream.ErrClosed)
		if err := r.leg.Send(context.Background(), roomOut("r2", "x")); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("closed: %v", err)
		}
	})
}

// TestNoPresenceWithoutSignature: an unsigned presence would switch Psi's
// encryption off, so there is none at all.
func TestNoPresenceWithoutSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.scheme.signErr = e2ee.ErrKeyExpired
		r.start()
		defer r.stop()
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			if e.Local == "presence" {
				t.Errorf("sent %s", xmpptest.XML(e))
			}
		}
		if notes := strings.Join(r.leg.Status().Notes, "\n"); !strings.Contains(notes, "presence cannot be signed") {
			t.Errorf("notes: %s", notes)
		}
		r.scheme.mu.Lock()
		r.scheme.signErr = nil
		r.scheme.mu.Unlock()
		r.leg.KeysChanged()
		synctest.Wait()
		if e := r.st.Sent(); e.Child(nsSigned, "x") == nil {
			t.Errorf("after the new key: %s", xmpptest.XML(e))
		}
	})
}

// TestTooLarge: a stanza above the server's limit would cost the stream, and
// resending it every stream after.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		if err := r.leg.Send(context.Background(), roomOut("r", strings.Repeat("<", 15000))); !errors.Is(err, errTooLarge) {
			t.Errorf("error: %v", err)
		}
	})
}

// TestReconnectPolicy drives the supervisor through failures.
func TestReconnectPolicy(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.dials = slices.Repeat([]error{refused}, 1000)
		r.start()
		defer r.stop()
		time.Sleep(time.Minute)
		n := r.dialCount()
		if n < 150 || n > 280 {
			t.Errorf("%d dials in the first minute of a refused port, every 300 ms would be 200", n)
		}
		time.Sleep(time.Hour)
		if n = r.dialCount() - n; n < 10 || n > 30 {
			t.Errorf("%d dials in the hour after", n)
		}
		if st := r.leg.Status(); st.State != bridge.StateDown && st.State != bridge.StateOpening || !strings.Contains(st.Detail, "cannot connect") {
			t.Errorf("status: %v %s", st.State, st.Detail)
		}
		r.dialMu.Lock()
		r.dials = nil
		r.dialMu.Unlock()
		time.Sleep(10 * time.Minute)
		if st := r.leg.Status(); st.State != bridge.StateUp {
			t.Errorf("status after the repair: %v %s", st.State, st.Detail)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a wrong password: stop until somebody acts
		r := newRig(t, testConfig())
		r.dials = []error{&stream.AuthError{Mechanism: "SCRAM-SHA-256", Condition: "not-authorized"}}
		r.start()
		defer r.stop()
		time.Sleep(24 * time.Hour)
		st := r.leg.Status()
		if r.dialed != 1 || st.State != bridge.StateRefused || !strings.Contains(st.Detail, "wrong password") {
			t.Errorf("%d dials, %v: %s", r.dialed, st.State, st.Detail)
		}
		c := testConfig()
		c.Password = "new"
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if st := r.leg.Status(); st.State != bridge.StateUp {
			t.Errorf("after the new password: %v %s", st.State, st.Detail)
		}
	})
}

// TestChannelBindingRefused: a server that offers channel binding and refuses it
// is not asked for it again.
func TestChannelBindingRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		var modes []string
		r.leg.deps.Dial = func(ctx context.Context, c stream.Config) (Stream, error) {
			modes = append(modes, c.ChannelBinding)
			if len(modes) == 1 {
				c.OnBindingRefused()
			}
			return r.dial(ctx, c)
		}
		r.start()
		defer r.stop()
		r.st.Fail(io.EOF)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := []string{"", stream.BindingOff}; !slices.Equal(modes, want) {
			t.Errorf("modes: %q, not %q", modes, want)
		}
	})
}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		err   error
		class endClass
		says  string
	}{
		{&stream.AuthError{Condition: "account-disabled"}, endLogin, "disabled"},
		{&stream.AuthError{Condition: "temporary-auth-failure"}, endRefused, "try later"},
		{stream.ErrPin, endCertificate, "pin_sha256"},
		{fmt.Errorf("dial: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), endCertificate, "ca_file"},
		{stream.ErrNoTLS, endCertificate, "STARTTLS"},
		{stream.ErrNoMechanism, endLogin, "allow_plain"},
		{&stream.StreamError{Condition: "conflict"}, endConflict, "resource"},
		{&stream.StreamError{Condition: "policy-violation"}, endViolation, "policy-violation"},
		{&stream.StreamError{Condition: "system-shutdown", Text: "bye\r\nX"}, endLost, "bye"},
		{&stream.StreamError{Condition: "host-unknown"}, endCertificate, "domain"},
		{&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, endNet, "cannot connect"},
		{&net.DNSError{Err: "no such host", Name: "x.org"}, endNet, "no address"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, endLost, "connection lost"},
		{io.EOF, endLost, "connection lost"},
		{errNoPong, endLost, "does not answer"},
		{errReconfigured, endChanged, "configuration"},
	} {
		class, says := classify(tt.err, "bot@x.org")
		if class != tt.class || !strings.Contains(says, tt.says) || strings.ContainsAny(says, "\r\n") {
			t.Errorf("classify(%v) = %v, %q", tt.err, class, says)
		}
	}
}

func TestBackoff(t *testing.T) {
	now := time.Now()
	between := func(what string, d, low, high time.Duration) {
		t.Helper()
		if d < low || d > high {
			t.Errorf("%s: %v, not between %v and %v", what, d, low, high)
		}
	}
	var b backoff
	between("a long-lived stream that was cut", b.next(endLost, time.Hour, now), 200*time.Millisecond, 400*time.Millisecond)
	b = backoff{}
	between("refused after TCP", b.next(endRefused, 0, now), 700*time.Millisecond, 1300*time.Millisecond)
	between("again", b.next(endRefused, 0, now), 1400*time.Millisecond, 2600*time.Millisecond)
	for range 20 {
		b.next(endRefused, 0, now)
	}
	between("many times", b.next(endRefused, 0, now), 3*time.Minute, 7*time.Minute)
	b = backoff{}
	between("conflict", b.next(endConflict, time.Second, now), 45*time.Second, 80*time.Second)
	between("certificate", b.next(endCertificate, 0, now), 3*time.Minute, 7*time.Minute)
	between("a login that worked before", b.next(endLogin, 0, now), 3*time.Minute, 7*time.Minute)
	b = backoff{}
	if d := b.next(endLogin, 0, now); d >= 0 {
		t.Errorf("a login that never worked is tried again after %v", d)
	}
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Now()
	if d := p.wait(now); d != 0 {
		t.Errorf("no limit, but %v", d)
	}
	p.halve(now)
	p.wait(now)
	if d := p.wait(now); d != paceFirst {
		t.Errorf("second message waits %v", d)
	}
	p.halve(now)
	if p.gap != 2*paceFirst {
		t.Errorf("halved twice: %v", p.gap)
	}
	for range 30 {
		now = now.Add(paceEase + time.Second)
		p.wait(now)
	}
	if p.gap != 0 {
		t.Errorf("the limit was never lifted: %v", p.gap)
	}
}

// TestReconfigure changes people and rooms under a live stream.
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.online("alice@x.org/a")
		c := testConfig()
		c.People = append(c.People[1:], policy.Person{Name: "carol", JIDs: []string{"carol@x.org"}})
		c.Rooms = []RoomConfig{{JID: "new@rooms.x.org", Nick: "bridge"}}
		bad := c
		bad.Rooms = append(bad.Rooms, RoomConfig{JID: "nonsense"})
		if err := r.leg.Reconfigure(bad); err == nil {
			t.Fatal("a bad configuration was taken")
		}
		if err := r.leg.Send(context.Background(), chatOut("c1", "x")); err != nil {
			t.Errorf("after the bad one: %v", err)
		}
		r.st.Sent()
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var sent []string
		for e := r.st.Sent(); e != nil; e = r.st.Sent() {
			sent = append(sent, e.Local+" "+e.Get("type")+" "+e.Get("to"))
		}
		for _, want := range []string{
			"presence unavailable dev@rooms.x.org/bridge", "presence  new@rooms.x.org/bridge", "presence subscribe carol@x.org",
		} {
			if !slices.Contains(sent, want) {
				t.Errorf("%q was not sent: %q", want, sent)
			}
		}
		events := strings.Join(r.lines(&r.sink.events), "\n")
		for _, want := range []string{"room-down alice: no longer configured", "room-down dev@rooms.x.org: left: no longer configured"} {
			if !strings.Contains(events, want) {
				t.Errorf("no event %q:\n%s", want, events)
			}
		}
		if r.st.Closed() {
			t.Error("the stream was dropped")
		}
		r.push("<message from='alice@x.org/a' type='chat'><body>x</body></message>")
		if got := r.lines(&r.sink.messages); len(got) != 0 {
			t.Errorf("alice is still heard: %q", got)
		}
		// She comes back: the server does not show her presence again, but it is known.
		c.People = append(c.People, policy.Person{Name: "alice", JIDs: []string{"alice@x.org"}})
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.lines(&r.sink.events); !slices.Contains(got, "room-up alice alice client=gajim") {
			t.Errorf("events after alice came back: %q", got)
		}
		c.Password = "other"
		if err := r.leg.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r.dialed != 2 || r.leg.Status().State != bridge.StateUp {
			t.Errorf("another password: %d dials, %v", r.dialed, r.leg.Status().State)
		}
	})
}

// TestNoWayBackIn: a kick holds over a new stream, until somebody acts.
func TestNoWayBackIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		r.push("<presence from='" + testRoom + "/bridge' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><item/><status code='307'/></x></presence>")
		joins := func() (n int) {
			for e := r.st.Sent(); e != nil; e = r.st.Sent() {
				if e.Get("to") == testRoom+"/bridge" && e.Local == "presence" {
					n++
				}
			}
			return n
		}
		joins()
		r.st.Fail(io.EOF)
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.leg.Counts()["streams"] < 2 {
			t.Fatal("no new stream")
		}
		if n := joins(); n != 0 {
			t.Errorf("%d joins after the kick", n)
		}
		if got := roomLine(r.leg.Status(), testRoom); got != testRoom+" refused: kicked from the room; ask its moderators, then reload" {
			t.Errorf("status: %s", got)
		}
		if err := r.leg.Reconfigure(withRoom()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := joins(); n != 1 {
			t.Errorf("%d joins after the reload, not 1", n)
		}
	})
}

// TestSelfPing: a quiet room is asked whether we are in it, and joined again if
// we are not (XEP-0410).
func TestSelfPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
		defer r.stop()
		r.skipStart()
		r.joinRoom()
		wait := func(d time.Duration, what func(e *element.Element) bool) *element.Element {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				synctest.Wait()
				for e := r.st.Sent(); e != nil; e = r.st.Sent() {
					if e.Child(nsPing, "ping") != nil && e.Get("to") == "x.org" {
						r.push("<iq type='result' from='x.org' id='" + e.Get("id") + "'/>")
					}
					if what(e) {
						return e
					}
				}
			}
			t.Fatalf("waited in vain: %s, %d dials, %q", roomLine(r.leg.Status(), testRoom), r.dialCount(), r.lines(&r.sink.events))
			return nil
		}
		selfPing := func(e *element.Element) bool {
			return e.Child(nsPing, "ping") != nil && e.Get("to") == testRoom+"/bridge"
		}
		ping := wait(6*time.Minute, selfPing)
		r.push("<iq type='result' from='" + testRoom + "/bridge' id='" + ping.Get("id") + "'/>")
		ping = wait(6*time.Minute, selfPing)
		r.push("<iq type='error' from='" + testRoom + "/bridge' id='" + ping.Get("id") + "'><error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		if got := r.lines(&r.sink.events); len(got) != 1 || !strings.HasPrefix(got[0], "room-down "+testRoom+": no longer in the room") {
			t.Errorf("events: %q", got)
		}
		wait(5*time.Second, func(e *element.Element) bool { return e.Child(nsMUC, "x") != nil })
	})
}

// TestAckMissing: a server that does not answer a request for acknowledgement is
// gone, however much else it sends.
func TestAckMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/a")
		if err := r.leg.Send(context.Background(), chatOut("c1", "x")); err != nil {
			t.Fatal(err)
		}
		for range 9 {
			r.push("<iq type='get' id='1' from='x.org'><ping xmlns='urn:xmpp:ping'/></iq>")
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := r.lines(&r.sink.events); !slices.Contains(got, "leg-down: the server does not answer") {
			t.Errorf("events: %q", got)
		}
		if got := r.lines(&r.sink.proofs); !slices.Equal(got, []string{"doubt alice c1"}) {
			t.Errorf("proofs: %q", got)
		}
	})
}

// TestManyChats: however many lines there are, one request is under way at a time,
// and all are proven.
func TestManyChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		defer r.stop()
		r.skipStart()
		r.online("alice@x.org/a")
		for i := range 200 {
			if err := r.leg.Send(context.Background(), chatOut(fmt.Sprint("c", i), "x")); err != nil {
				t.Fatal(err)
			}
		}
		requests := 0
		for range 3 {
			asked := 0
			for e := r.st.Sent(); e != nil; e = r.st.Sent() {
				if e.Local == "r" {
					asked++
				}
			}
			if requests += asked; asked > 1 {
				t.Fatalf("%d requests at once", asked)
			}
			if asked == 1 {
				r.push(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", r.st.Seq()-uint64(100*(1-min(requests-1, 1)))))
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got := r.lines(&r.sink.proofs); len(got) != 200 || got[199] != "delivered alice c199" {
			t.Errorf("%d proofs", len(got))
		}
		if requests != 2 {
			t.Errorf("%d requests", requests)
		}
	})
}

// TestHiddenClient: who writes without showing a presence can be answered.
func TestHiddenClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		defer r.stop()
		r.skipStart()
		r.push("<message from='alice@x.org/hidden' type='chat'><body>x</body></message>")
		if got := r.lines(&r.sink.events); !slices.Equal(got, []string{"room-up alice alice"}) {
			t.Errorf("events: %q", got)
		}
		if err := r.leg.Send(context.Background(), chatOut("c1", "x")); err != nil {
			t.Fatal(err)
		}
		if e := r.st.Sent(); e.Get("to") != "alice@x.org/hidden" {
			t.Errorf("sent %s", xmpptest.XML(e))
		}
		r.push("<message type='error' from='alice@x.org/hidden' id='c1'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
		if got := r.lines(&r.sink.events); !slices.Equal(got, []string{"room-down alice: not reachable: service-unavailable"}) {
			t.Errorf("events: %q", got)
		}
	})
}

// TestRunTwice and the goodbye.
func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
		if err := r.leg.Run(context.Background(), r.sink); !errors.Is(err, errTwice) {
			t.Errorf("second Run: %v", err)
		}
		r.skipStart()
		r.stop()
		if e := r.st.Sent(); e.Get("type") != "unavailable" {
			t.Errorf("goodbye: %s", xmpptest.XML(e))
		}
		if !r.st.Closed() {
			t.Error("the stream is still open")
		}
	})
}
