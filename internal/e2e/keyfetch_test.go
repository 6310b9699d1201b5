//go:build e2e

package e2e

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"drawbridge/internal/lab"
)

// TestFetchedRevocation: a key server tells that alice's key was revoked. From then on
// nothing is sealed to it, nothing that it signed is taken, bob goes on as before, and
// the next start has not forgotten it, though the server is gone.
func TestFetchedRevocation(t *testing.T) {
	t.Parallel()
	h, ircd, prosody := newServed(t)
	alice, bob := h.person(prosody, "alice", lab.Key{}), h.person(prosody, "bob", lab.Key{})
	// OX is listed, as clients do not sign by XEP-0027; the scripted ones do.
	config := strings.Replace(twoPeople, "announce: off", "announce: off\n    schemes: [ox, openpgp]\n    require: {in: signed, out: verified}", 1) + "log: {level: debug}\n"
	h.config(config)
	carl := h.IRCUser(ircd, "carl", channel)
	h.env = []string{"SSL_CERT_FILE=" + h.CA.File}
	bot := h.start()
	h.joins(carl, 0)
	h.statusShows(", ready")
	a, b := h.scripted(prosody, alice), h.scripted(prosody, bob)
	signed := func(c *scripted, text string) (stanza string) {
		return "<body>" + scriptedBody + "</body><x xmlns='jabber:x:encrypted'>" + c.p.gpg.Seal(h.botKey, text, "--sign", "--local-user", c.p.fpr) + "</x>"
	}
	a.Chat(botJID, signed(a, "alice is here"))
	h.reads("carl", onIRC(carl, channel), "alice", "alice is here")
	carl.Say(channel, "for both")
	h.reads("alice", heard(a), "for both")
	h.reads("bob", heard(b), "for both")

	// Whoever has stolen the key has signed this in time.
	stolen := signed(a, "by the stolen key")
	alice.gpg.Revoke(alice.fpr)
	keys := h.keyServer(alice)
	h.config(strings.Replace(config, "paths: [keys/]", `paths: [keys/], fetch: ["`+keys.URL+`"]`, 1))
	h.ok("reload")
	if !lab.Poll(5*wait, func() bool { return h.logged("key refreshed", alice.fpr) > 0 }) { // within two minutes
		t.Fatalf("the revocation was never fetched; the server was asked %d times", keys.asked.Load())
	}
	refused := 0
	check := func(when string) {
		t.Helper()
		h.statusShows("alice", "revoked")
		carl.Say(channel, when+": for bob alone")
		h.reads("bob", heard(b), when+": for bob alone")
		a.Chat(botJID, stolen)
		b.Chat(botJID, signed(b, when+": bob is here"))
		h.reads("carl", onIRC(carl, channel), when+": bob is here")
		for _, l := range a.Heard(botJID) {
			if strings.Contains(l, "for bob alone") {
				t.Errorf("%s: a line was sealed to the revoked key", when)
			}
		}
		refused++
		h.until("the refusal", func() bool { return h.logged("refused", "room=alice") >= refused })
		for _, l := range append(onIRC(carl, channel)(), b.Heard(botJID)...) {
			if strings.Contains(l, "stolen") {
				t.Errorf("%s: a line that the revoked key has signed was relayed: %q", when, l)
			}
		}
	}
	check("at once")
	h.stop(bot)
	keys.Close()
	n := len(carl.Lines())
	h.start()
	h.joins(carl, n)
	h.statusShows(", ready")
	check("after a restart")
	h.sealedOnly(prosody, "is here", "for both", "stolen", "for bob alone")
}

// keyServer is a key server (HKP over TLS) that has the keys of people.
type keyServer struct {
	*httptest.Server
	asked atomic.Int64
}

// keyServer starts a key server with a certificate of the lab's authority.
func (h *house) keyServer(people ...*person) *keyServer {
	h.t.Helper()
	k := &keyServer{}
	found := map[string]string{}
	for _, p := range people {
		found["0x"+p.fpr] = p.gpg.Export(p.fpr)
	}
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.asked.Add(1)
		key, ok := found[r.URL.Query().Get("search")]
		if !ok || r.URL.Path != "/pks/lookup" || r.URL.Query().Get("op") != "get" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(key))
	}))
	cert := h.CA.Issue("127.0.0.1", "keys.localhost")
	pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
	h.must(err)
	k.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	k.StartTLS()
	h.Cleanup(k.Close)
	return k
}
