//go:build e2e

package e2e

import (
	"strings"
	"sync"

	"drawbridge/internal/lab"
)

// scripted is a person with a scripted client that speaks XEP-0027 with the real
// gpg: for what profanity and mcabber cannot be made to do.
type scripted struct {
	*lab.XMPPUser
	h *house
	p *person

	mu     sync.Mutex // guards opened
	opened map[string]string
}

const scriptedBody = "[this message is encrypted]"

// scripted logs the person in with a signed presence.
func (h *house) scripted(s *lab.XMPPServer, p *person) *scripted {
	h.t.Helper()
	c := &scripted{XMPPUser: h.XMPPUser(s, p.name, "script"), h: h, p: p, opened: map[string]string{}}
	c.Presence("<status>here</status><x xmlns='jabber:x:signed'>" + p.gpg.SignStatus("here") + "</x>")
	return c
}

// befriends adds the bot as a contact, and agrees as it asks in its turn.
func (c *scripted) befriends() {
	c.h.t.Helper()
	c.Send("<presence type='subscribe' to='" + botJID + "'/>")
	for _, typ := range []string{"subscribed", "subscribe"} {
		c.Expect(func(st string) bool {
			return strings.HasPrefix(st, "<presence") && lab.Attr(st, "type") == typ && lab.Attr(st, "from") == botJID
		}, "the bot's "+typ)
	}
	c.Send("<presence type='subscribed' to='" + botJID + "'/>")
}

// saySigned sends a line that is signed and sealed, which most clients of XEP-0027 never do.
func (c *scripted) saySigned(text string) {
	c.h.t.Helper()
	c.Chat(botJID, "<body>"+scriptedBody+"</body><x xmlns='jabber:x:encrypted'>"+c.p.gpg.Seal(c.h.botKey, text, "--sign")+"</x>")
}

// say sends a sealed line to the bot and returns the stanza's id.
func (c *scripted) say(text string) string {
	c.h.t.Helper()
	return c.Chat(botJID, "<body>"+scriptedBody+"</body><x xmlns='jabber:x:encrypted'>"+c.p.gpg.Seal(c.h.botKey, text)+"</x>")
}

// Heard returns what the bot has said, decrypted. What came in clear is marked,
// and fails the test.
func (c *scripted) Heard(jid string) []string {
	c.h.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, st := range c.Stanzas() {
		if !strings.HasPrefix(st, "<message") || !strings.HasPrefix(lab.Attr(st, "from"), jid) || lab.Attr(st, "type") == "error" {
			continue
		}
		if body, ok := lab.Child(st, "body"); !ok || strings.HasPrefix(body, "?OTRv") {
			continue // a receipt or a chat state; or a question for OTR, of whom no key counts yet
		}
		if strings.Contains(st, nsOX) {
			if _, known := c.opened[st]; !known {
				c.opened[st], _ = c.openOX(st)
			}
			out = append(out, c.opened[st])
			continue
		}
		x, ok := sealedPart(st)
		if !ok {
			c.h.t.Errorf("the bot wrote to %s in clear: %s", c.p.name, st)
			continue
		}
		if _, ok := c.opened[x]; !ok {
			text, err := c.p.gpg.Open(x)
			if err != nil {
				c.h.t.Errorf("%s cannot read the bot: %v", c.p.name, err)
			}
			c.opened[x] = text
		}
		out = append(out, c.opened[x])
	}
	return out
}

// sealedPart returns the text of <x xmlns='jabber:x:encrypted'/>.
func sealedPart(stanza string) (string, bool) {
	_, rest, ok := strings.Cut(stanza, "jabber:x:encrypted")
	if !ok {
		return "", false
	}
	_, rest, _ = strings.Cut(rest, ">")
	x, _, ok := strings.Cut(rest, "<")
	return x, ok
}
