//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// saslConfig logs in to services in the way that ${sasl} says; one person with a
// key stands by, whom these scenarios do not need.
const saslConfig = `
networks:
  corp: {server: "${irc}", ca_file: "${ca}", nick: bridge, sasl: ${sasl}}
accounts:
  bot: {jid: bridge@localhost/bridge, server: "${xmpp}", ca_file: "${ca}", password_file: password, openpgp: {key_file: bot.asc}}
keyring: {paths: [keys/]}
people:
  alice: {jids: [alice@localhost], openpgp: ["${alice}"]}
bridges:
  dev:
    irc: [{network: corp, channel: "#dev"}]
    xmpp: {account: bot, people: [alice]}
    announce: off
`

// Scenario 3: the bot logs in to services before it joins, by password and by
// certificate; what services refuse is told and does not join.
func TestLoginToServices(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true, Services: true}), h.Prosody(lab.Prosody{})
	h.vars["irc"], h.vars["xmpp"] = localhost(ircd.TLSAddr), localhost(prosody.Addr)
	prosody.AddUser(botName)
	h.person(prosody, "alice", lab.Key{})
	cert := h.CA.Issue("bridge")
	h.vars["cert"] = cert.Bundle
	ircd.Register("bridgeacct", "sesame", cert.SHA256())
	h.file("services", "sesame\n")
	h.file("wrong", "mustard\n")
	carl := h.IRCUser(ircd, "carl", channel)

	for _, tt := range []struct{ name, sasl string }{
		{"plain", `{mechanism: plain, account: bridgeacct, password_file: services}`},
		{"external", `{mechanism: external, account: bridgeacct, cert_file: "${cert}"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.vars["sasl"] = strings.ReplaceAll(tt.sasl, "${cert}", h.vars["cert"])
			h.config(saslConfig)
			before := len(carl.Lines())
			bot := h.start()
			h.joins(carl, before)
			carl.Send("WHOIS bridge")
			carl.Expect(" 330 carl bridge bridgeacct ")
			h.stop(bot)
			if !lab.Poll(5*time.Second, func() bool {
				return strings.Contains(strings.Join(carl.Lines()[before:], "\n"), ":bridge!bridge@127.0.0.1 QUIT")
			}) {
				t.Error("the bot left without a word")
			}
		})
	}

	t.Run("wrong password", func(t *testing.T) {
		h.vars["sasl"] = `{mechanism: plain, account: bridgeacct, password_file: wrong}`
		h.config(saslConfig)
		before := len(carl.Lines())
		bot := h.start()
		out := h.statusShows("SASL")
		if !strings.Contains(out, "refused") {
			t.Errorf("status does not say that the login was refused:\n%s", out)
		}
		if strings.Contains(strings.Join(carl.Lines()[before:], "\n"), ":bridge!") {
			t.Error("the bot joined without its login")
		}
		if strings.Contains(out+h.log(), "mustard") {
			t.Error("the password was told")
		}
		h.stop(bot)
	})
}

// A password is never sent to services in clear.
func TestPlainLoginNeedsTLS(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ircd, prosody := h.InspIRCd(lab.InspIRCd{Fast: true}), h.Prosody(lab.Prosody{})
	proxy := h.Proxy(ircd.Addr)
	proxy.Record()
	h.vars["irc"], h.vars["xmpp"] = localhost(proxy.Addr), localhost(prosody.Addr)
	prosody.AddUser(botName)
	h.person(prosody, "alice", lab.Key{})
	h.file("services", "sesame\n")
	h.vars["sasl"] = `{mechanism: plain, account: bridgeacct, password_file: services}, tls: off`
	h.config(strings.NewReplacer(`channel: "#dev"`, `channel: "#dev", require: clear`, `"${irc}", ca_file: "${ca}"`, `"${irc}"`).Replace(saslConfig))
	if out, errOut, code := h.try("check"); code == 0 || !strings.Contains(out, "drawbridge.yaml:") || !strings.Contains(out, "tls: off") {
		t.Errorf("check: exit %d, %s%s", code, out, errOut)
	}
	bot := h.start()
	<-bot.Done()
	if up, _ := proxy.Recorded(); up != "" {
		t.Errorf("sent without TLS: %q", up)
	}
}
