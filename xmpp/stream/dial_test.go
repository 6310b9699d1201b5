package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mellium.im/xmpp/jid"
)

// zone is a DNS zone: service → records.
type zone map[string][]*net.SRV

func (z zone) lookup(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
	records, ok := z[service]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return "", records, nil
}

func srv(target string, port, priority uint16) *net.SRV {
	return &net.SRV{Target: target, Port: port, Priority: priority}
}

func TestCandidates(t *testing.T) {
	none := []*net.SRV{srv(".", 0, 0)}
	for _, tt := range []struct {
		name   string
		config Config
		zone   zone
		want   []string // direct TLS marked by "tls:"
		err    string
	}{
		{"server", Config{Server: "xmpp.corp.example:5333"}, nil, []string{"xmpp.corp.example:5333"}, ""},
		{"server without port", Config{Server: "xmpp.corp.example"}, nil, []string{"xmpp.corp.example:5222"}, ""},
		{"server is an IPv6 address", Config{Server: "[2001:db8::1]"}, nil, []string{"[2001:db8::1]:5222"}, ""},
		{"direct TLS", Config{Server: "xmpp.corp.example:5223", TLS: TLS{Mode: DirectTLS}}, nil, []string{"tls:xmpp.corp.example:5223"}, ""},
		{"direct TLS without server", Config{TLS: TLS{Mode: DirectTLS}}, nil, []string{"tls:corp.example:5223"}, ""},
		{"no records", Config{}, zone{}, []string{"corp.example:5222"}, ""},
		{"records", Config{}, zone{"xmpp-client": {srv("a.corp.example.", 5222, 0), srv("b.corp.example.", 5299, 5)}}, []string{"a.corp.example:5222", "b.corp.example:5299"}, ""},
		{"both kinds, by priority, direct TLS first", Config{}, zone{
			"xmpp-client":  {srv("a.", 1, 0), srv("b.", 2, 10)},
			"xmpps-client": {srv("c.", 3, 0), srv("d.", 4, 5)},
		}, []string{"tls:c:3", "a:1", "tls:d:4", "b:2"}, ""},
		{"only direct TLS", Config{}, zone{"xmpps-client": {srv("c.", 443, 0)}, "xmpp-client": none}, []string{"tls:c:443"}, ""},
		{"no direct TLS, says DNS", Config{}, zone{"xmpps-client": none}, []string{"corp.example:5222"}, ""},
		{"no service at all, says DNS", Config{}, zone{"xmpps-client": none, "xmpp-client": none}, nil, "hint: set server"},
		{"in clear there is no direct TLS", Config{TLS: TLS{Mode: NoTLS}}, zone{"xmpps-client": {srv("c.", 443, 0)}}, []string{"corp.example:5222"}, ""},
		{"domain is an address", Config{JID: jid.MustParse("bot@192.0.2.1/x")}, zone{}, []string{"192.0.2.1:5222"}, ""},
		{"domain of another script", Config{JID: jid.MustParse("bot@žluťoučký.example/x")}, zone{}, []string{"xn--luouk-uva4it5a4g.example:5222"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.config.JID.Equal(jid.JID{}) {
				tt.config.JID = jid.MustParse("bot@corp.example/x")
			}
			tt.config.LookupSRV = tt.zone.lookup
			list, err := candidates(t.Context(), tt.config.withDefaults())
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("err = %v", err)
			}
			var got []string
			for _, c := range list {
				if c.direct {
					c.addr = "tls:" + c.addr
				}
				got = append(got, c.addr)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDialTriesAllAndSaysWhatToLookAt(t *testing.T) {
	var tried []string
	c := Config{
		JID:       jid.MustParse("bot@corp.example/x"),
		LookupSRV: zone{"xmpp-client": {srv("a.", 1, 0), srv("b.", 2, 1)}}.lookup,
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			tried = append(tried, addr)
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		},
	}
	_, err := Dial(t.Context(), c)
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "is the server up") {
		t.Errorf("err = %v", err)
	}
	if !slices.Equal(tried, []string{"a:1", "b:2"}) {
		t.Errorf("tried %q", tried)
	}
	c.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "corp.example", IsNotFound: true}}
	}
	if _, err = Dial(t.Context(), c); err == nil || !strings.Contains(err.Error(), "set server to host:port") || !strings.HasPrefix(err.Error(), "xmpp stream: ") {
		t.Errorf("err = %v", err)
	}
}

func TestErrorsNameTheirPackageOnce(t *testing.T) {
	for _, err := range []error{
		&AuthError{Mechanism: "SCRAM-SHA-1", Condition: "not-authorized"},
		&StreamError{Condition: "conflict", Text: "x"},
		&TooLargeError{Size: 5, Max: 4},
	} {
		if s := fmt.Sprint(explain(err)); strings.Count(s, "xmpp stream: ") != 1 {
			t.Errorf("%q", s)
		}
	}
}
