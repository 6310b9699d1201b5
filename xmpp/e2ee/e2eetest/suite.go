// Package e2eetest is the suite of tests that every encryption scheme passes: it
// holds what the XMPP leg relies on.
package e2eetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// End is one end of a conversation.
type End struct {
	Scheme e2ee.Scheme
	Peer   e2ee.Peer // the other end, as this one sees it
}

// Harness makes a scheme's ends. All of its functions must be set.
type Harness struct {
	// Ends returns two ends that can write to each other, with nothing said yet.
	Ends func(t testing.TB) (a, b End)
	// Keyless returns a peer of a's scheme of whom it has no key.
	Keyless func(t testing.TB) (a e2ee.Scheme, p e2ee.Peer)
	// Body returns an opened body: only tests may look into it here.
	Body func(e2ee.Opened) string
	// InBody is set where what is sealed travels in <body/>, which is no fallback then.
	InBody bool
}

// Text is text to seal.
type Text string

// Reveal returns the text.
func (t Text) Reveal() string { return string(t) }

const canary = "canary-7f3a91"

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("round trip", h.roundTrip)
	t.Run("nothing shows outside", h.nothingShows)
	t.Run("claims", h.claims)
	t.Run("no key, no message", h.keyless)
	t.Run("altered messages never open", h.altered)
	t.Run("rubbish never opens", h.rubbish)
	t.Run("body is never content", h.fallback)
	t.Run("replay and redelivery", h.replay)
	t.Run("ended context", h.context)
	t.Run("nothing prints", h.prints)
	t.Run("parallel", h.parallel)
}

// Carry makes the stanza that b gets of a's payload.
func Carry(p e2ee.Payload, id string) e2ee.Incoming {
	return e2ee.Incoming{Body: p.Body, Children: p.Children, ID: id, Stamp: time.Now()}
}

func seal(t testing.TB, from End, text string) e2ee.Payload {
	t.Helper()
	p, err := from.Scheme.Seal(context.Background(), from.Peer, Text(text))
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	if rung, err := from.Scheme.Reach(from.Peer); p.Rung != rung || rung == policy.Clear {
		t.Errorf("sealed to keys of rung %v; Reach = %v, %v", p.Rung, rung, err)
	}
	return p
}

func (h Harness) roundTrip(t *testing.T) {
	a, b := h.Ends(t)
	for i, text := range []string{
		"hello", "ünïcödé ☃ 𝄞 👩‍👩‍👧", "two\nlines", "*bold* `code` <x>&amp;", " blanks at both ends ",
		"?", "/me waves", strings.Repeat("long ", 2000),
	} {
		in := Carry(seal(t, a, text), fmt.Sprint("rt", i))
		got, err := b.Scheme.Open(context.Background(), b.Peer, in)
		if err != nil {
			t.Fatalf("Open of text %d: %v", i, err)
		}
		if h.Body(got) != text || got.Silent {
			t.Errorf("text %d came out as %q (silent %v)", i, h.Body(got), got.Silent)
		}
		if got.Rung < policy.Sealed {
			t.Errorf("text %d: rung %v of an encrypted message", i, got.Rung)
		}
		// And the other way.
		if _, err := a.Scheme.Open(context.Background(), a.Peer, Carry(seal(t, b, text), fmt.Sprint("rt", i))); err != nil {
			t.Errorf("back: %v", err)
		}
	}
}

func (h Harness) nothingShows(t *testing.T) {
	a, _ := h.Ends(t)
	one, two := seal(t, a, canary+"-one"), seal(t, a, strings.Repeat(canary, 50))
	if h.InBody {
		if strings.Contains(one.Body+two.Body, canary) || one.Body == "" || len(one.Children) > 0 {
			t.Errorf("body %q, %d children", one.Body, len(one.Children))
		}
		if one.EME == "" {
			t.Error("no namespace for XEP-0380")
		}
		return
	}
	if one.Body != two.Body || one.Body == "" {
		t.Errorf("fallback bodies %q and %q: must be one constant", one.Body, two.Body)
	}
	if one.EME == "" {
		t.Error("no namespace for XEP-0380")
	}
	if len(one.Children) == 0 {
		t.Fatal("payload without children")
	}
	for _, c := range append(one.Children, two.Children...) {
		walk(c, func(e *element.Element) {
			if strings.Contains(e.Text, canary) || e.Is("jabber:client", "body") {
				t.Errorf("<%s> shows the text, or is a body", e.Local)
			}
		})
	}
}

func walk(e *element.Element, f func(*element.Element)) {
	f(e)
	for _, c := range e.Children {
		walk(c, f)
	}
}

func (h Harness) claims(t *testing.T) {
	a, b := h.Ends(t)
	if !b.Scheme.Claims(Carry(seal(t, a, "hello"), "c1")) {
		t.Error("does not claim its own message")
	}
	for _, in := range []e2ee.Incoming{
		{},
		{Body: "hello"},
		{Body: "see openpgp and otr"},
		{Children: []*element.Element{element.New("urn:xmpp:receipts", "request"), element.New("jabber:x:oob", "x")}},
	} {
		if b.Scheme.Claims(in) {
			t.Errorf("claims %+v", in)
		}
	}
}

func (h Harness) keyless(t *testing.T) {
	s, p := h.Keyless(t)
	if rung, err := s.Reach(p); err == nil || rung != policy.Clear {
		t.Errorf("Reach = %v, %v; want clear and why", rung, err)
	}
	out, err := s.Seal(context.Background(), p, Text(canary))
	if err == nil || len(out.Children) > 0 || out.Body != "" {
		t.Errorf("Seal without a key gave %d children, body %q, %v", len(out.Children), out.Body, err)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Error("the error quotes the text")
	}
}

// altered flips and cuts the text of the first element that has some.
func (h Harness) altered(t *testing.T) {
	a, b := h.Ends(t)
	p := seal(t, a, canary)
	wire := h.wire(&p)
	if wire == nil {
		t.Skip("no character data in the payload")
	}
	whole := *wire
	try := func(what, text string) {
		*wire = text
		got, err := b.Scheme.Open(context.Background(), b.Peer, Carry(p, ""))
		if err == nil && h.Body(got) != canary && !got.Silent {
			t.Errorf("%s opened as %q", what, h.Body(got))
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error quotes the text", what)
		}
	}
	for i := 0; i < len(whole); i += 1 + len(whole)/97 {
		flip := []byte(whole)
		flip[i] ^= 1 << (i % 7)
		try(fmt.Sprintf("byte %d flipped", i), string(flip))
		try(fmt.Sprintf("cut at %d", i), whole[:i])
	}
}

// wire returns the character data that carries what p has sealed.
func (h Harness) wire(p *e2ee.Payload) *string {
	if h.InBody {
		return &p.Body
	}
	if el := firstText(p.Children); el != nil {
		return &el.Text
	}
	return nil
}

func firstText(list []*element.Element) (found *element.Element) {
	for _, c := range list {
		walk(c, func(e *element.Element) {
			if found == nil && e.Text != "" {
				found = e
			}
		})
	}
	return found
}

func (h Harness) rubbish(t *testing.T) {
	a, b := h.Ends(t)
	p := seal(t, a, "hello")
	wire := h.wire(&p)
	if wire == nil {
		t.Skip("no character data in the payload")
	}
	for _, text := range []string{"", "\n", "=", "====", "AAAA", "\x00\xff", strings.Repeat("A", 1<<20), strings.Repeat("=", 100), "ünï"} {
		*wire = text
		got, err := b.Scheme.Open(context.Background(), b.Peer, Carry(p, ""))
		if err == nil && !got.Silent {
			t.Errorf("%d bytes of rubbish opened", len(text))
		}
	}
	if got, err := b.Scheme.Open(context.Background(), b.Peer, e2ee.Incoming{Body: canary}); err == nil && !got.Silent {
		t.Error("a clear body opened")
	}
}

func (h Harness) fallback(t *testing.T) {
	a, b := h.Ends(t)
	in := Carry(seal(t, a, "the text"), "b1")
	in.Body = canary
	got, err := b.Scheme.Open(context.Background(), b.Peer, in)
	if err == nil && h.Body(got) != "the text" {
		t.Errorf("opened as %q", h.Body(got))
	}
}

func (h Harness) replay(t *testing.T) {
	a, b := h.Ends(t)
	p := seal(t, a, "once")
	open := func(id string) (e2ee.Opened, error) {
		return b.Scheme.Open(context.Background(), b.Peer, Carry(p, id))
	}
	if got, err := open("id-1"); err != nil || got.Redelivered {
		t.Fatalf("first: redelivered %v, %v", got.Redelivered, err)
	}
	got, err := open("id-1")
	if err == nil && !got.Redelivered && !got.Silent {
		t.Error("the same stanza again opened as if it were new")
	}
	for _, id := range []string{"id-2", ""} {
		if got, err := open(id); err == nil && !got.Silent {
			t.Errorf("a replay under id %q opened", id)
		}
	}
}

func (h Harness) context(t *testing.T) {
	a, b := h.Ends(t)
	p := seal(t, a, "hello")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Scheme.Seal(ctx, a.Peer, Text("hello")); !errors.Is(err, context.Canceled) {
		t.Errorf("Seal: %v", err)
	}
	if _, err := b.Scheme.Open(ctx, b.Peer, Carry(p, "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
}

func (h Harness) prints(t *testing.T) {
	a, b := h.Ends(t)
	got, err := b.Scheme.Open(context.Background(), b.Peer, Carry(seal(t, a, canary), "p1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(got), fmt.Sprintf("%s|%v|%#v", got, got, got), got.LogValue().String()} {
		if strings.Contains(s, canary) {
			t.Errorf("prints as %q", s)
		}
	}
	for _, s := range []e2ee.Scheme{a.Scheme, b.Scheme} {
		if str := fmt.Sprintf("%v", s.Name()); str == "" || strings.ToLower(str) != str {
			t.Errorf("scheme name %q", str)
		}
	}
}

// parallel writes from many goroutines to as many pairs of ends as there are; in
// order, as the leg does, where the scheme is not Unordered.
func (h Harness) parallel(t *testing.T) {
	a, b := h.Ends(t)
	var wg sync.WaitGroup
	inOrder := new(sync.Mutex)
	if _, free := a.Scheme.(e2ee.Unordered); free {
		inOrder = nil
	}
	for g := range 8 {
		wg.Go(func() {
			for i := range 10 {
				h.once(t, a, b, fmt.Sprintf("%d/%d", g, i), inOrder)
			}
		})
	}
	wg.Wait()
}

// once carries a text from a to b.
func (h Harness) once(t *testing.T, a, b End, text string, inOrder *sync.Mutex) {
	if inOrder != nil {
		inOrder.Lock()
		defer inOrder.Unlock()
	}
	p, err := a.Scheme.Seal(context.Background(), a.Peer, Text(text))
	if err != nil {
		t.Errorf("Seal: %v", err)
		return
	}
	got, err := b.Scheme.Open(context.Background(), b.Peer, Carry(p, text))
	if err != nil || h.Body(got) != text {
		t.Errorf("Open: %q, %v", h.Body(got), err)
	}
}
