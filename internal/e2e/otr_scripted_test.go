//go:build e2e

package e2e

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"

	xotr "golang.org/x/crypto/otr" // frozen; another engine than ours, for the other side

	"drawbridge/internal/lab"
)

// scriptedOTR is a person with a scripted client that speaks OTR version 2 by
// golang.org/x/crypto/otr: where many are needed, or pieces, which libotr's clients
// do not send on XMPP.
type scriptedOTR struct {
	*lab.XMPPUser
	h    *house
	name string
	key  xotr.PrivateKey

	mu    sync.Mutex // guards both
	conv  xotr.Conversation
	lines []string
}

// scriptedOTR makes somebody with an account and a key; ${name} becomes the
// fingerprint. Text of theirs leaves in pieces of the given size, 0 for whole.
func (h *house) scriptedOTR(s *lab.XMPPServer, name string, piece int) *scriptedOTR {
	h.t.Helper()
	s.AddUser(name)
	s.Befriend(botName, name)
	c := &scriptedOTR{h: h, name: name}
	c.key.Generate(rand.Reader)
	c.conv.PrivateKey, c.conv.FragmentSize = &c.key, piece
	h.vars[name] = fmt.Sprintf("%X", c.key.Fingerprint())
	return c
}

// login brings them online, without a session; the bot asks for one, unless it must
// not.
func (c *scriptedOTR) login(s *lab.XMPPServer) {
	c.h.t.Helper()
	c.connect(s)
	c.Presence("")
}

// connect logs them in without showing a presence: nobody hears when they go.
func (c *scriptedOTR) connect(s *lab.XMPPServer) {
	c.h.t.Helper()
	c.mu.Lock()
	c.conv = xotr.Conversation{PrivateKey: &c.key, FragmentSize: c.conv.FragmentSize}
	c.mu.Unlock()
	c.XMPPUser = c.h.XMPPUser(s, c.name, "script")
	c.Each(c.take)
}

// take handles a stanza, on the goroutine that reads.
func (c *scriptedOTR) take(st string) {
	if !strings.HasPrefix(st, "<message") || !strings.HasPrefix(lab.Attr(st, "from"), botJID) || lab.Attr(st, "type") == "error" {
		return
	}
	body, ok := lab.Child(st, "body")
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out, sealed, _, replies, err := c.conv.Receive([]byte(body))
	switch {
	case err != nil:
		c.h.t.Errorf("%s cannot read the bot: %v", c.name, err)
	case len(out) > 0 && !sealed && !strings.HasPrefix(body, "?OTR"):
		c.h.t.Errorf("the bot wrote to %s in clear: %s", c.name, st)
	case len(out) > 0 && sealed:
		c.lines = append(c.lines, string(out))
	}
	for _, r := range replies {
		c.send(string(r))
	}
}

func (c *scriptedOTR) send(body string) {
	c.Send("<message type='chat' to='" + botJID + "/bridge'><body>" + lab.Escape(body) + "</body></message>")
}

// sealed waits until there is a session.
func (c *scriptedOTR) sealed() {
	c.h.t.Helper()
	c.h.until("a session of "+c.name, c.inSession)
}

func (c *scriptedOTR) inSession() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conv.IsEncrypted()
}

// say says one line. There must be a session.
func (c *scriptedOTR) say(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.conv.IsEncrypted() {
		c.h.t.Errorf("%s has no session", c.name)
		return
	}
	out, err := c.conv.Send([]byte(text))
	if err != nil {
		c.h.t.Errorf("%s: %v", c.name, err)
	}
	for _, body := range out {
		c.send(string(body))
	}
}

// heard returns what the bot said.
func (c *scriptedOTR) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}
