package xmpp

import (
	"context"

	"drawbridge/bridge"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// carry seals text, and with a scheme that carries it the request for a receipt,
// which others send beside it; carried tells that it is inside.
func (s *session) carry(ctx context.Context, scheme e2ee.Scheme, p e2ee.Peer, m *bridge.Outgoing) (pay e2ee.Payload, carried bool, err error) {
	c, ok := scheme.(e2ee.Carrier)
	if !ok {
		pay, err = s.seal(ctx, scheme, p, m.Text)
		return pay, false, err
	}
	err = errSchemePanic
	s.guard("seal", func() { pay, err = c.SealWith(ctx, p, m.Text, element.New(nsReceipts, "request")) })
	return pay, true, err
}

// inside takes what stood beside the text inside of an encryption: receipts prove as
// those outside do, and a request for one is answered in the same way as it came,
// once the core has the message.
func (s *session) inside(c *contact, it *item, scheme e2ee.Scheme, p e2ee.Peer, inside []*element.Element, e *element.Element) {
	carrier, ok := scheme.(e2ee.Carrier)
	id, wants := e.Get("id"), false
	for _, el := range inside {
		switch {
		case el.Is(nsReceipts, "received"), el.Is(nsMarkers, "displayed"):
			s.proofs.receipt(c.room, el.Get("id"))
		case el.Is(nsReceipts, "request"):
			wants = ok && id != "" && e.Child(nsReceipts, "request") == nil
		}
	}
	if !wants {
		return
	}
	to, taken := e.Get("from"), it.msg.Taken
	it.msg.Taken = func(ok bool) {
		taken(ok)
		if ok {
			s.leg.work.submit(&lane{}, func() { s.guard("receipt", func() { s.sealedReceipt(carrier, p, to, id) }) })
		}
	}
}

func (s *session) sealedReceipt(scheme e2ee.Carrier, p e2ee.Peer, to, id string) {
	pay, err := scheme.SealWith(context.Background(), p, nil, element.New(nsReceipts, "received", "id", id))
	if err != nil {
		s.leg.log.Debug("receipt not sealed", "leg", s.leg.name, "to", p.Person.Name, "err", err)
		return
	}
	msg := element.New(nsClient, "message", "to", to, "type", "chat", "id", s.idPrefix+"r-"+keptID(id))
	addPayload(msg, pay)
	s.leg.receipt(msg)
}
