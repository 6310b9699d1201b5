//go:build e2e

package e2e

import (
	"encoding/base64"
	"strings"
	"time"

	"drawbridge/internal/lab"
)

// This file has a scripted person write OX (XEP-0373, XEP-0374) by the real gpg, beside
// XEP-0027: for what profanity cannot be made to send.

const nsOX = "urn:xmpp:openpgp:0"

// sayOX sends a line to the bot, signed and sealed.
func (c *scripted) sayOX(text string) { c.sendOX(c.signcrypt(text, botJID, time.Now())) }

// sendOX sends what signcrypt made, under an id of its own.
func (c *scripted) sendOX(x string) {
	c.Chat(botJID, "<body>"+oxFallbacks[0]+"</body><openpgp xmlns='"+nsOX+"'>"+x+"</openpgp>")
}

// signcrypt is a line to somebody as of some time, sealed to the bot, and signed by the
// person's key unless options of gpg say otherwise.
func (c *scripted) signcrypt(text, to string, at time.Time, options ...string) string {
	c.h.t.Helper()
	inner := "<signcrypt xmlns='" + nsOX + "'><to jid='" + to + "'/><time stamp='" + at.UTC().Format(time.RFC3339) + "'/><rpad>zyx</rpad>" +
		"<payload><body xmlns='jabber:client'>" + lab.Escape(text) + "</body></payload></signcrypt>"
	out := c.p.gpg.Run(inner, append(options, "--sign", "--recipient", c.h.botKey, "--encrypt")...)
	return base64.StdEncoding.EncodeToString([]byte(out))
}

// openOX returns the text of a stanza of OX, and whether it is one.
func (c *scripted) openOX(stanza string) (text string, ok bool) {
	c.h.t.Helper()
	x, ok := lab.Child(stanza, "openpgp")
	if !ok || !strings.Contains(stanza, nsOX) {
		return "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(x), ""))
	c.h.must(err)
	inner := c.p.gpg.Run(string(raw), "--decrypt")
	text, _ = lab.Child(inner, "body")
	return text, true
}
