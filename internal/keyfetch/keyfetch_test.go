package keyfetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const fpr = "0123456789ABCDEF0123456789ABCDEF01234567"

func TestWKD(t *testing.T) {
	advanced, direct, ok := wkdURLs("Joe.Doe@Example.ORG") // the draft's own example
	if want := "https://openpgpkey.example.org/.well-known/openpgpkey/example.org/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe"; !ok || advanced != want {
		t.Errorf("advanced: %s, %v", advanced, ok)
	}
	if want := "https://example.org/.well-known/openpgpkey/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe"; direct != want {
		t.Errorf("direct: %s", direct)
	}
	for _, bad := range []string{"", "joe", "@x.org", "joe@", "joe@localhost", "joe@127.0.0.1", "joe@x.org/y", "joe@x.org:99", "joe@[::1]", "joe@a b.org", "joe@x.org?q"} {
		if u, _, ok := wkdURLs(bad); ok {
			t.Errorf("%q is asked at %s", bad, u)
		}
	}
}

func TestCheck(t *testing.T) {
	for source, good := range map[string]bool{
		"wkd": true, "https://keys.example.org": true, "hkps://keys.example.org:8443/": true,
		"": false, "http://keys.example.org": false, "hkp://keys.example.org": false, "keys.example.org": false,
		"https://user:pw@keys.example.org": false, "https://keys.example.org/path": false, "https://keys.example.org?q": false, "https://": false,
	} {
		if err := Check(source); (err == nil) != good {
			t.Errorf("%q: %v", source, err)
		}
	}
}

// world is a web server that every name leads to.
type world struct {
	*httptest.Server
	client *Client
	asked  []string
}

func newWorld(t *testing.T, sources []string, h http.HandlerFunc) *world {
	t.Helper()
	w := &world{}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked = append(w.asked, "https://"+r.Host+r.URL.String())
		h(rw, r)
	}))
	w.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what some tests want
	w.StartTLS()
	t.Cleanup(w.Close)
	pool := x509.NewCertPool()
	pool.AddCert(w.Certificate())
	for i := range sources {
		sources[i] = strings.ReplaceAll(sources[i], "SERVER", "example.com") // what the certificate of httptest names
	}
	c, err := New(sources, &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, w.Listener.Addr().String())
	}
	w.client = c
	return w
}

func TestFetch(t *testing.T) {
	for _, tt := range []struct {
		name      string
		sources   []string
		addresses []string
		handler   http.HandlerFunc
		want      string // what is found, joined
		err       string // part of the error; "-" for ErrNotFound
		asked     int
		noHost    bool // no such name as openpgpkey.…
	}{
		{
			name: "key server", sources: []string{"hkps://SERVER"}, asked: 1, want: "the key",
			handler: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/pks/lookup" || r.URL.Query().Get("search") != "0x"+fpr || r.URL.Query().Get("op") != "get" {
					t.Errorf("asked %s", r.URL)
				}
				_, _ = w.Write([]byte("the key"))
			},
		},
		{
			name: "two sources", sources: []string{"https://SERVER", "hkps://SERVER:443"}, asked: 2, want: "key,key",
			handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("key")) },
		},
		{
			name: "nobody has it", sources: []string{"https://SERVER"}, asked: 1, err: "-",
			handler: http.NotFound,
		},
		{
			name: "trouble", sources: []string{"https://SERVER"}, asked: 1, err: "says 500",
			handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		},
		{
			name: "too much", sources: []string{"https://SERVER"}, asked: 1, err: "more than 256 KiB",
			handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxKey+1)) },
		},
		{
			name: "out of TLS", sources: []string{"https://SERVER"}, asked: 1, err: "out of TLS",
			handler: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://example.com/", http.StatusFound)
			},
		},
		{
			name: "round and round", sources: []string{"https://SERVER"}, asked: maxMoves + 1, err: "too often",
			handler: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://example.com/", http.StatusFound)
			},
		},
		{
			// Not the name of the certificate: both ways of WKD are refused before any word.
			name: "another's certificate", sources: []string{WKD}, addresses: []string{"a@wrong.test"}, asked: 0, err: "certificate",
			handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("key")) },
		},
		{
			name: "WKD, advanced", sources: []string{WKD}, addresses: []string{"a@example.com"}, asked: 1, want: "openpgpkey.example.com",
			handler: func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host)) },
		},
		{
			name: "WKD, direct where there is no openpgpkey host", sources: []string{WKD}, addresses: []string{"a@example.com"}, noHost: true, asked: 1, want: "example.com",
			handler: func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host)) },
		},
		{
			name: "WKD, not direct where the advanced way fails", sources: []string{WKD}, addresses: []string{"a@example.com"}, asked: 1, err: "says 502",
			handler: func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "example.com" {
					w.WriteHeader(502)
				}
				_, _ = w.Write([]byte(r.Host))
			},
		},
		{
			name: "WKD without that key", sources: []string{WKD}, addresses: []string{"a@example.com"}, asked: 1, err: "-",
			handler: http.NotFound,
		},
		{name: "no address, no question", sources: []string{WKD}, err: "-", handler: http.NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.sources, tt.handler)
			if dial := w.client.http.Transport.(*http.Transport); tt.noHost {
				next := dial.DialContext
				dial.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if strings.HasPrefix(addr, "openpgpkey.") {
						return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Name: addr, IsNotFound: true}}
					}
					return next(ctx, network, addr)
				}
			}
			found, err := w.client.Fetch(t.Context(), fpr, tt.addresses)
			var got []string
			for _, f := range found {
				got = append(got, string(f))
			}
			if strings.Join(got, ",") != tt.want || len(w.asked) != tt.asked {
				t.Errorf("found %q, asked %q", got, w.asked)
			}
			switch {
			case tt.err == "-":
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("error %v", err)
				}
			case (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err):
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestFetchEnds(t *testing.T) {
	w := newWorld(t, []string{"https://SERVER"}, http.NotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.client.Fetch(ctx, fpr, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
