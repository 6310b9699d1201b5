package xmpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/xmpp/stream"
	"drawbridge/xmpp/xmpptest"
)

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

func TestCutPutsUnprovenInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.start()
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
		if err := r.leg.Send(ctx, roomOut("r4", "x")); !errors.Is(err, bridge.ErrNotReady) {
			t.Errorf("Send while down: %v", err)
		}
		time.Sleep(2 * time.Second)
		r.stop() // before any archive told
		want := []string{"delivered " + testRoom + " r0", "doubt alice c0", "doubt alice c1", "doubt " + testRoom + " r1", "doubt alice c2", "doubt " + testRoom + " r2"}
		if got := r.lines(&r.sink.proofs); !slices.Equal(got, want) {
			t.Errorf("proofs:\n got %q\nwant %q", got, want)
		}
	})
}

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

func TestAckMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		r.start()
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
		r.stop()
		if got := r.lines(&r.sink.proofs); !slices.Equal(got, []string{"doubt alice c1"}) {
			t.Errorf("proofs: %q", got)
		}
	})
}

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
