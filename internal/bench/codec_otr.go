package main

import (
	"crypto/rand"
	"fmt"
	"sync"

	"golang.org/x/crypto/otr" // frozen, OTRv2: what the harness's contact speaks
)

// OTR, version 2, by golang.org/x/crypto/otr. The contact asks for the session.
type otrCodec struct {
	mu   sync.Mutex
	conv otr.Conversation
}

func newOTRCodec(_, _, _ string) (Codec, error) {
	k := new(otr.PrivateKey)
	k.Generate(rand.Reader)
	return &otrCodec{conv: otr.Conversation{PrivateKey: k}}, nil
}

// Begin implements Handshaker.
func (o *otrCodec) Begin(c *XMPPClient, peer string) {
	_ = c.Raw("<message type='chat' to='" + esc.Replace(peer) + "'><body>" + esc.Replace(otr.QueryMessage) + "</body></message>")
}

// Ready implements Handshaker.
func (o *otrCodec) Ready() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.conv.IsEncrypted() }

// Encode implements Codec.
func (o *otrCodec) Encode(_ *XMPPClient, _, text string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out, err := o.conv.Send([]byte(text))
	if err != nil || len(out) != 1 {
		return ""
	}
	return "<body>" + esc.Replace(string(out[0])) + "</body>"
}

// Decode implements Codec.
func (o *otrCodec) Decode(c *XMPPClient, st []byte) (string, bool) {
	body, ok := plainCodec{}.Decode(c, st)
	if !ok {
		return "", false
	}
	o.mu.Lock()
	out, enc, _, reply, err := o.conv.Receive([]byte(body))
	o.mu.Unlock()
	if err != nil && debugWire {
		logf("otr: %v", err)
	}
	from := attr(firstTag(st), "from")
	for _, r := range reply {
		_ = c.Raw(fmt.Sprintf("<message type='chat' to='%s'><body>%s</body></message>", esc.Replace(from), esc.Replace(string(r))))
	}
	return string(out), enc && len(out) > 0
}
