package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/config"
	"drawbridge/internal/dialer"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

const probeTime = 5 * time.Second

// probe finds out at which step the way to the server of a network or account ends: name, TCP,
// TLS.
func probe(ctx context.Context, c *config.Config, name string) []step {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if n := c.Network(name); n != nil {
		var steps []step
		for _, addr := range n.Server {
			steps = append(steps, probeAddr(ctx, n.Name, addr, ircTLS(n))...)
		}
		return steps
	}
	a := c.Account(name)
	var steps []step
	for _, addr := range xmppAddrs(ctx, a) {
		var t *dialer.TLS
		if a.TLS == config.TLSDirect {
			t = &dialer.TLS{CAFile: a.CAFile, PinSHA256: a.PinSHA256, ServerName: domain(a.JID), NextProtos: []string{"xmpp-client"}}
		}
		steps = append(steps, probeAddr(ctx, a.Name, addr, t)...)
	}
	return steps
}

// ircTLS is how the server of a network is checked, nil for plain text.
func ircTLS(n *config.Network) *dialer.TLS {
	if n.TLS == config.TLSOff {
		return nil
	}
	t := &dialer.TLS{CAFile: n.CAFile, PinSHA256: n.PinSHA256}
	if n.SASL != nil {
		t.CertFile = n.SASL.CertFile
	}
	return t
}

// probeAddr resolves, dials and, with t, does the TLS handshake.
func probeAddr(ctx context.Context, what, addr string, t *dialer.TLS) []step {
	ok := func(said string) step { return step{What: what, Outcome: good, Said: said} }
	no := func(fix, format string, args ...any) step {
		return step{What: what, Outcome: bad, Said: fmt.Sprintf(format, args...), Fix: fix}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return []step{no("HOST:PORT", "%s: %v", addr, err)}
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return []step{no("is the name spelt right? can this machine resolve names?", "%s cannot be resolved: %v", host, err)}
	}
	conn, err := dialer.TCP(ctx, nil, addr)
	if err != nil {
		return []step{no("is the server up, the port "+port+" right, and no firewall in between?", "%s (%s) does not answer: %v", addr, ips[0], err)}
	}
	defer func() { _ = conn.Close() }()
	if t == nil {
		return []step{ok(addr + " answers")}
	}
	tc, err := dialer.Client(ctx, conn, *t, host)
	var pin *dialer.PinError
	switch {
	case err == nil:
		_ = tc.Close()
		return []step{ok(addr + " answers, and its certificate is trusted")}
	case errors.As(err, &pin):
		return []step{no("pin_sha256: "+pin.Got+", if that is the server's (ask who runs it)", "the certificate of %s is not the pinned one", addr)}
	case dialer.NotTrusted(err):
		return []step{no("ca_file: its authority's certificate, or pin_sha256: its own", "the certificate of %s is not trusted: %v", addr, err)}
	default:
		return []step{no("does this port speak TLS? IRC usually does on 6697", "no TLS with %s: %v", addr, err)}
	}
}

// xmppAddrs are the addresses where an account's server should be.
func xmppAddrs(ctx context.Context, a *config.Account) []string {
	if a.Server != "" {
		return []string{a.Server}
	}
	_, srv, err := net.DefaultResolver.LookupSRV(ctx, "xmpp-client", "tcp", domain(a.JID))
	var out []string
	for _, s := range srv {
		out = append(out, net.JoinHostPort(s.Target, fmt.Sprint(s.Port)))
	}
	if err != nil || len(out) == 0 {
		return []string{net.JoinHostPort(domain(a.JID), "5222")}
	}
	return out
}

// keySteps seals a nonce to each person's key as the bot would, by each scheme of the
// bridge that needs no session, and one to the bot's own key, which it opens again.
func keySteps(c *config.Config, k *keys) []step {
	var steps []step
	for i := range c.Bridges {
		x := c.Bridges[i].XMPP
		if x == nil || !c.Bridges[i].Require.Encrypted() {
			continue
		}
		s := k.accounts[x.Account]
		if s == nil {
			continue // config and check have told of it
		}
		for _, name := range x.People {
			p := c.Person(name).Policy()
			peer := e2ee.Peer{Account: x.Account, Self: bareJID(c.Account(x.Account).JID), Bare: p.JIDs[0], Person: p}
			for _, scheme := range k.schemes(x.Account) {
				if _, session := scheme.(e2ee.Session); !session && slices.Contains(c.Bridges[i].Schemes, scheme.Name()) {
					steps = append(steps, sealStep(scheme, peer))
				}
			}
		}
	}
	for i := range c.Accounts {
		if s := k.accounts[c.Accounts[i].Name]; s != nil {
			steps = append(steps, ownKeyStep(&c.Accounts[i], s.Secret()))
		}
	}
	return steps
}

func sealStep(s e2ee.Scheme, peer e2ee.Peer) step {
	by := ""
	if s.Name() != openpgp.Name {
		by = " by " + s.Name()
	}
	st := step{What: peer.Person.Name, Outcome: good, Said: "a nonce was sealed to the pinned key" + by}
	if _, err := s.Seal(context.Background(), peer, nonce()); err != nil {
		e := keyError(&config.Config{}, "", err)
		return step{What: st.What, Outcome: bad, Said: "nothing can be sealed" + by + ": " + e.What, Fix: e.Fix}
	}
	return st
}

// ownKeyStep seals a nonce to the bot's own key and opens it: whoever seals to
// this key will be understood.
func ownKeyStep(a *config.Account, own *openpgp.Secret) step {
	st := step{What: a.Name, Outcome: good, Said: "a nonce was sealed to the bot's own key, signed, opened and verified"}
	if err := roundTrip(a, own); err != nil {
		return step{What: a.Name, Outcome: bad, Said: "the bot's own key does not work: " + err.Error()}
	}
	return st
}

func roundTrip(a *config.Account, own *openpgp.Secret) error {
	public, err := own.Public()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "drawbridge-doctor-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := openpgp.Import(dir, public, time.Now()); err != nil {
		return err
	}
	ring, err := openpgp.NewKeyring([]string{dir})
	if err != nil {
		return err
	}
	self := bareJID(a.JID)
	peer := e2ee.Peer{Account: a.Name, Self: self, Bare: self, Person: &policy.Person{Name: a.Name, JIDs: []string{self}, OpenPGP: []string{own.Fingerprint()}}}
	s := openpgp.New(openpgp.Config{Account: a.Name, Secret: own, Keyring: ring}, openpgp.Deps{}) // signs, even if messages will not
	sealed, err := s.Seal(context.Background(), peer, nonce())
	if err != nil {
		return err
	}
	opened, err := s.Open(context.Background(), peer, e2ee.Incoming{Body: sealed.Body, Children: sealed.Children, Stamp: time.Now()})
	switch {
	case err != nil:
		return err
	case opened.Fingerprint != own.Fingerprint():
		return errors.New("the signature inside was not verified")
	}
	return nil
}

func nonce() bridge.Text {
	return bridge.NewText("drawbridge doctor " + time.Now().Format(time.RFC3339Nano))
}
