package xmpp

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// fakeAnnouncer is a scheme that publishes one item and asks for a list.
type fakeAnnouncer struct {
	*fakeScheme
	takes bool       // a list changes something, and names no key
	mu    sync.Mutex // guards taken
	taken []string
}

func (f *fakeAnnouncer) Features() []string { return []string{"test:keys+notify"} }
func (f *fakeAnnouncer) Node() string       { return "test:keys" }
func (f *fakeAnnouncer) Announce(self string) ([]e2ee.Item, error) {
	return []e2ee.Item{{Node: "test:keys", ID: "current", Payload: element.New("test:keys", "key").SetText(self)}}, nil
}
func (f *fakeAnnouncer) Ability(e2ee.Peer) e2ee.Ability { return e2ee.Able }

func (f *fakeAnnouncer) Take(p e2ee.Peer, node string, item *element.Element, err error) (next []string, changed bool) {
	what := "nothing"
	switch {
	case err != nil:
		what = err.Error()
	case item != nil:
		what = item.Get("id")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = append(f.taken, p.Bare+" "+node+" "+what)
	if node == "test:keys" && item != nil && !f.takes {
		return []string{"test:keys:1"}, false
	}
	return nil, item != nil
}

func (f *fakeAnnouncer) SealWith(ctx context.Context, p e2ee.Peer, text e2ee.Plain, beside ...*element.Element) (e2ee.Payload, error) {
	pay := e2ee.Payload{EME: nsFake}
	if text != nil {
		var err error
		if pay, err = f.Seal(ctx, p, text); err != nil {
			return pay, err
		}
	}
	pay.Children = append(pay.Children, element.New(nsFake, "inside").Add(beside...))
	return pay, nil
}

func (f *fakeAnnouncer) Open(ctx context.Context, p e2ee.Peer, in e2ee.Incoming) (e2ee.Opened, error) {
	o, err := f.fakeScheme.Open(ctx, p, in)
	for _, c := range in.Children {
		if c.Is(nsFake, "inside") {
			o.Inside = c.Children
		}
	}
	return o, err
}

// outbox are stanzas that were sent, in whatever order: some are by workers.
type outbox struct {
	r    *rig
	list []string
}

// take returns the first stanza that holds mark, and keeps the others for later.
func (o *outbox) take(mark string) string {
	o.r.t.Helper()
	synctest.Wait()
	for e := o.r.st.Sent(); e != nil; e = o.r.st.Sent() {
		o.list = append(o.list, string(element.AppendXML(nil, e, nsClient)))
	}
	i := slices.IndexFunc(o.list, func(xml string) bool { return strings.Contains(xml, mark) })
	if i < 0 {
		o.r.t.Fatalf("nothing was sent with %q, but\n%s", mark, strings.Join(o.list, "\n"))
	}
	xml := o.list[i]
	o.list = slices.Delete(o.list, i, i+1)
	return xml
}

func (r *rig) answer(sent, from, payload string) {
	r.t.Helper()
	_, id, _ := strings.Cut(sent, `id='`)
	if id == "" {
		_, id, _ = strings.Cut(sent, `id="`)
	}
	id = id[:strings.IndexAny(id, `'"`)]
	typ := "result"
	if strings.HasPrefix(payload, "<error") {
		typ = "error"
	}
	r.push("<iq type='" + typ + "' id='" + id + "' from='" + from + "'>" + payload + "</iq>")
}

const refusedBy = "<error type='cancel'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"

// TestPEP plays the key exchange against a server without publish-options.
func TestPEP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := testConfig()
		conf.People = conf.People[:1]
		r := newRig(t, conf)
		scheme := &fakeAnnouncer{fakeScheme: r.scheme}
		leg, err := New(conf, Deps{Schemes: []e2ee.Scheme{scheme}, Cores: 1, Dial: r.dial})
		if err != nil {
			t.Fatal(err)
		}
		r.leg = leg
		r.start()
		defer r.stop()
		sent := &outbox{r: r}

		// Published with options; refused: without, and the node is opened then.
		list := sent.take("<items")
		if !strings.Contains(list, "alice@x.org") || !strings.Contains(list, "test:keys") || !strings.Contains(list, "max_items") {
			t.Errorf("asked %s", list)
		}
		first := sent.take("<publish")
		if !strings.Contains(first, "publish-options") || !strings.Contains(first, ">open<") || !strings.Contains(first, "bot@x.org<") {
			t.Errorf("published %s", first)
		}
		r.answer(first, "bot@x.org", refusedBy)
		second := sent.take("<publish")
		if strings.Contains(second, "publish-options") {
			t.Errorf("again with options: %s", second)
		}
		r.answer(second, "bot@x.org", "")
		r.answer(sent.take("<configure"), "bot@x.org", refusedBy)

		// The list brings a key, the last item of what the server sends; then held lines
		// are tried again.
		r.answer(list, "alice@x.org", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='test:keys'><item id='old'/><item id='new'/></items></pubsub>")
		r.answer(sent.take("test:keys:1"), "alice@x.org", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='test:keys:1'><item id='key'/></items></pubsub>")
		if got := strings.Join(scheme.taken, "\n"); got != "alice@x.org test:keys new\nalice@x.org test:keys:1 key" {
			t.Errorf("taken:\n%s", got)
		}
		// Another key of hers counts from now on: asked again.
		leg.TrustChanged("alice")
		r.answer(sent.take("<items"), "alice@x.org", refusedBy)
		// News of a node: asked again, from whom it came, and from strangers nothing.
		event := "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='test:keys'><item id='newer'/></items></event>"
		r.push("<message from='mallory@x.org' type='headline'>" + event + "</message>")
		r.push("<message from='alice@x.org' type='headline'>" + event + "</message>")
		r.answer(sent.take("<items"), "alice@x.org", refusedBy)
		if got := scheme.taken[len(scheme.taken)-1]; got != "alice@x.org test:keys xmpp: refused: feature-not-implemented" {
			t.Errorf("taken: %s", got)
		}
		// A flood of them is answered with few questions.
		for range 100 {
			r.push("<message from='alice@x.org' type='headline'>" + event + "</message>")
			for e := r.st.Sent(); e != nil; e = r.st.Sent() {
				if xml := string(element.AppendXML(nil, e, nsClient)); strings.Contains(xml, "<items") {
					r.answer(xml, "alice@x.org", refusedBy)
				}
			}
		}
		if n := len(scheme.taken); n > 2+keysBurst+2 {
			t.Errorf("%d answers were taken", n)
		}
	})
}

// TestInsideReceipts: a request that came sealed is answered sealed, once the core has
// the message; ours goes inside.
func TestInsideReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		scheme := &fakeAnnouncer{fakeScheme: r.scheme}
		leg, err := New(testConfig(), Deps{Schemes: []e2ee.Scheme{scheme}, Cores: 1, Dial: r.dial})
		if err != nil {
			t.Fatal(err)
		}
		r.leg = leg
		r.start()
		defer r.stop()
		sent := &outbox{r: r}
		r.push("<presence from='alice@x.org/gajim'/>")
		for r.st.Sent() != nil {
		}
		r.push("<message from='alice@x.org/gajim' type='chat' id='m1'><x xmlns='test:sealed'>68656c6c6f</x><inside xmlns='test:sealed'><request xmlns='urn:xmpp:receipts'/></inside></message>")
		if xml := sent.take("urn:xmpp:receipts"); !strings.Contains(xml, "<inside") || !strings.Contains(xml, "m1") || strings.Contains(xml, "<body") || !strings.Contains(xml, "no-store") {
			t.Errorf("receipt: %s", xml)
		}
		room := bridge.Room{Leg: "bot", Kind: bridge.Chat, Name: "alice"}
		if err := r.leg.Send(t.Context(), bridge.Outgoing{ID: "out1", To: room, Schemes: []string{"openpgp"}, Text: bridge.NewText("hi")}); err != nil {
			t.Fatal(err)
		}
		xml := sent.take("out1")
		outside, inside, _ := strings.Cut(xml, "<inside")
		if strings.Contains(outside, "urn:xmpp:receipts") || !strings.Contains(inside, "request") {
			t.Errorf("sent: %s", xml)
		}
	})
}
