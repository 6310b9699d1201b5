//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"drawbridge/internal/lab"
)

// Scenario 4: certificates. A private authority and a right pin are welcome; an
// unknown authority, a wrong name or a wrong pin stop the leg before it says a
// word, and status tells which and what to do.
func TestCertificates(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	prosody.AddUser(botName)
	h.person(prosody, "alice", lab.Key{})
	carl := h.IRCUser(ircd, "carl", channel)
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	h.vars["direct"] = localhost(prosody.TLSAddr)
	wrong := strings.Repeat("00", 32)
	const caFile = `ca_file: "${ca}"`

	for _, tt := range []struct {
		name      string
		irc, xmpp string // of each leg's TLS
		// What status shows of the leg that fails, "" if none does.
		refusedIRC, refusedXMPP string
	}{
		{"private authority", caFile, caFile, "", ""},
		{"right pins", caFile + `, pin_sha256: "` + ircd.Cert.SHA256() + `"`, caFile + `, pin_sha256: "` + prosody.Cert.SHA256() + `"`, "", ""},
		{"direct TLS", caFile, caFile + `, server: "${direct}", tls: direct`, "", ""},
		{"wrong pin on IRC", caFile + `, pin_sha256: "` + wrong + `"`, caFile, "pin", ""},
		{"wrong pin on XMPP", caFile, caFile + `, pin_sha256: "` + wrong + `"`, "", "pin"},
		{"unknown authority on IRC", `username: bridge`, caFile, "certificate", ""},
		{"unknown authority on XMPP", caFile, `allow_plain: false`, "", "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := `server: "${xmpp}", `
			if strings.Contains(tt.xmpp, "server:") {
				server = ""
			}
			h.config(fmt.Sprintf(`
networks:
  corp: {server: "${irc}", nick: bridge, %s}
accounts:
  bot: {jid: bridge@localhost/bridge, %spassword_file: password, openpgp: {key_file: bot.asc}, %s}
keyring: {paths: [keys/]}
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice]}
    announce: off
`, tt.irc, server, tt.xmpp))
			before, stanzas := len(carl.Lines()), len(prosody.Stanzas())
			bot := h.start()
			defer h.stop(bot)
			if tt.refusedIRC == "" {
				h.joins(carl, before)
			} else {
				h.legShows("corp", tt.refusedIRC)
				if strings.Contains(strings.Join(carl.Lines()[before:], "\n"), ":bridge!") {
					t.Error("the bot joined all the same")
				}
			}
			if tt.refusedXMPP == "" {
				h.legShows("bot", "up")
				if !logins(prosody.Stanzas()[stanzas:]) {
					t.Error("the server's log shows no login: it is of no use here")
				}
			} else {
				h.legShows("bot", tt.refusedXMPP)
				if logins(prosody.Stanzas()[stanzas:]) {
					t.Error("the bot logged in all the same")
				}
			}
		})
	}
}

// logins reports whether somebody began to log in.
func logins(stanzas []lab.Stanza) bool {
	return slices.ContainsFunc(stanzas, func(st lab.Stanza) bool { return strings.HasPrefix(st.XML, "<auth") })
}
