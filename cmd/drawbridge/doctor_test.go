package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/config"
	"drawbridge/internal/dialer"
)

func TestLegSteps(t *testing.T) {
	room := func(kind bridge.RoomKind, name string, s bridge.State, detail string) bridge.RoomStatus {
		return bridge.RoomStatus{Room: bridge.Room{Leg: "corp", Kind: kind, Name: name}, State: s, Detail: detail}
	}
	for _, tt := range []struct {
		name string
		leg  bridge.LegStatus
		want []step
	}{
		{"refused", bridge.LegStatus{Name: "corp", State: bridge.StateRefused, Detail: "wrong password"}, []step{{"corp", bad, "not connected: wrong password", ""}}},
		{"no answer", bridge.LegStatus{Name: "corp", State: bridge.StateOpening}, []step{{"corp", bad, "not connected: no answer in time", ""}}},
		{
			"up", bridge.LegStatus{
				Name: "corp", State: bridge.StateUp, Self: "bridge!b@h", Notes: []string{"nick taken"},
				Rooms: []bridge.RoomStatus{
					room(bridge.Channel, "#dev", bridge.StateUp, ""),
					room(bridge.MUC, "r@m", bridge.StateUp, "joined as bridge_"),
					room(bridge.Channel, "#key", bridge.StateRefused, "wrong key (+k)"),
					room(bridge.Channel, "#mod", bridge.StateRefused, "joined, but moderated (+m)"),
					room(bridge.Channel, "#slow", bridge.StateOpening, ""),
					room(bridge.Chat, "alice", bridge.StateUp, ""),
					room(bridge.Chat, "bob", bridge.StateDown, "offline"),
					room(bridge.Chat, "carol", bridge.StateRefused, ""),
				},
			}, []step{
				{"corp", good, "connected and logged in as bridge!b@h", ""},
				{"corp", note, "nick taken", ""},
				{"corp/#dev", good, "joined", ""},
				{"corp/r@m", good, "joined (joined as bridge_)", ""},
				{"corp/#key", bad, "not joined: wrong key (+k)", ""},
				{"corp/#mod", bad, "joined, but moderated (+m)", ""},
				{"corp/#slow", bad, "not joined: no answer in time", ""},
				{"corp/alice", good, "online", ""},
				{"corp/bob", note, "not online: offline", ""},
				{"corp/carol", bad, "not online: refused", ""},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := legSteps(tt.leg); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

// tlsServer answers with a self-signed certificate for 127.0.0.1; it returns its
// address, its certificate's file and SHA-256.
func tlsServer(t *testing.T) (addr, caFile, pin string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln)
	sum := sha256.Sum256(der)
	return ln.Addr().String(), caFile, hex.EncodeToString(sum[:])
}

// serve takes connections and says nothing, until the test ends.
func serve(t *testing.T, ln net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if tc, ok := conn.(*tls.Conn); ok {
				_ = tc.Handshake()
			} else {
				_, _ = io.WriteString(conn, ":irc.example NOTICE * :*** Looking up your hostname\r\n")
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
}

func TestProbe(t *testing.T) {
	addr, ca, pin := tlsServer(t)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, plain)
	for _, tt := range []struct {
		name, addr string
		tls        *dialer.TLS
		outcome    outcome
		said, fix  string
	}{
		{"plain", addr, nil, good, "answers", ""},
		{"trusted", addr, &dialer.TLS{CAFile: ca}, good, "answers, and its certificate is trusted", ""},
		{"pinned", addr, &dialer.TLS{PinSHA256: []string{pin}}, good, "its certificate is trusted", ""},
		{"not trusted", addr, &dialer.TLS{}, bad, "is not trusted", "ca_file"},
		{"another pin", addr, &dialer.TLS{PinSHA256: []string{strings.Repeat("0", 64)}}, bad, "is not the pinned one", pin},
		{"no TLS there", plain.Addr().String(), &dialer.TLS{CAFile: ca}, bad, "no TLS with", "speak TLS"},
		{"nobody there", "127.0.0.1:1", nil, bad, "does not answer", "firewall"},
		{"no port", "example.org", nil, bad, "missing port", "HOST:PORT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := probeAddr(t.Context(), "corp", tt.addr, tt.tls)
			if len(got) != 1 || got[0].Outcome != tt.outcome || !strings.Contains(got[0].Said, tt.said) || !strings.Contains(got[0].Fix, tt.fix) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestProbeOfALeg(t *testing.T) {
	addr, ca, _ := tlsServer(t)
	c := &config.Config{
		Networks: []config.Network{
			{Name: "corp", Server: []string{"127.0.0.1:1", addr}, CAFile: ca, SASL: &config.SASL{}},
			{Name: "open", Server: []string{addr}, TLS: config.TLSOff},
		},
		Accounts: []config.Account{{Name: "bot", JID: "bot@example.org/x", Server: addr}},
	}
	for name, want := range map[string][]outcome{"corp": {bad, good}, "open": {good}, "bot": {good}} {
		var got []outcome
		for _, s := range probe(t.Context(), c, name) {
			got = append(got, s.Outcome)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestVisitorTakesNothingOver(t *testing.T) {
	var v visitor
	m := bridge.Message{Taken: func(bool) { t.Error("a message was acknowledged") }}
	if err := v.Take(t.Context(), m); err != nil {
		t.Error(err)
	}
	if err := v.Notify(t.Context(), bridge.Event{}); err != nil {
		t.Error(err)
	}
	v.Prove(bridge.Proof{})
}
