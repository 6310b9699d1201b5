// Package keyfetch asks web key directories and key servers for public keys: small
// clients for WKD (draft-koch-openpgp-webkey-service) and HKP over TLS. What they
// bring is somebody's word; the caller knows keys by their fingerprints.
package keyfetch

import (
	"context"
	"crypto/sha1" // WKD says SHA-1; nothing rests on it
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Limits of one question.
const (
	maxKey     = 256 << 10
	maxTime    = 20 * time.Second
	maxMoves   = 3 // redirects, none of which may leave TLS
	maxHeaders = 64 << 10
)

// WKD is the source that asks the domain of each address.
const WKD = "wkd"

// ErrNotFound is returned where every source that answered has no such key.
var ErrNotFound = errors.New("keyfetch: no source has the key")

// Client asks sources for keys. It is safe for concurrent use.
type Client struct {
	sources []string
	http    *http.Client
}

// Check reports what is wrong with a source: it is "wkd", or the URL of a key server
// with https or hkps and nothing behind the host.
func Check(source string) error {
	if source == WKD {
		return nil
	}
	_, err := serverURL(source)
	return err
}

func serverURL(source string) (*url.URL, error) {
	u, err := url.Parse(source)
	switch {
	case err != nil, u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "", strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("keyfetch: %q is neither wkd nor the URL of a key server", source)
	case u.Scheme == "hkps":
		u.Scheme = "https"
	case u.Scheme != "https":
		return nil, fmt.Errorf("keyfetch: %q is asked without TLS: write https:// or hkps://", source)
	}
	return &url.URL{Scheme: "https", Host: u.Host}, nil
}

// New returns a client that asks sources, in their order. Certificates are always
// verified: against roots, or those of the system if it is nil.
func New(sources []string, roots *tls.Config) (*Client, error) {
	for _, s := range sources {
		if err := Check(s); err != nil {
			return nil, err
		}
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if roots != nil {
		conf.RootCAs = roots.RootCAs
	}
	dialer := &net.Dialer{Timeout: maxTime / 2}
	return &Client{sources: sources, http: &http.Client{
		Timeout: maxTime,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: conf, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: maxTime / 2, MaxResponseHeaderBytes: maxHeaders, DisableKeepAlives: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxMoves || req.URL.Scheme != "https" {
				return errors.New("keyfetch: sent on too often, or out of TLS")
			}
			return nil
		},
	}}, nil
}

// Fetch asks all sources for the key with this fingerprint, whose owner has these
// addresses (user@domain). It returns what each source brought, unread: a revocation
// may be at one of them alone. The error joins what went wrong and is ErrNotFound if
// nothing did and there is nothing.
func (c *Client) Fetch(ctx context.Context, fpr string, addresses []string) ([][]byte, error) {
	var found [][]byte
	var errs []error
	ask := func(urls ...string) {
		for i, u := range urls {
			data, err := c.get(ctx, u)
			var noHost *net.DNSError
			switch {
			case errors.Is(err, ErrNotFound):
			case errors.As(err, &noHost) && noHost.IsNotFound && i < len(urls)-1:
				continue // WKD: the other way of asking
			case err != nil:
				errs = append(errs, err)
			default:
				found = append(found, data)
			}
			return
		}
	}
	for _, s := range c.sources {
		if s == WKD {
			for _, a := range addresses {
				if advanced, direct, ok := wkdURLs(a); ok {
					ask(advanced, direct)
				}
			}
			continue
		}
		if u, err := serverURL(s); err == nil {
			ask(u.String() + "/pks/lookup?op=get&options=mr&search=0x" + url.QueryEscape(fpr))
		}
	}
	if len(found) == 0 && len(errs) == 0 {
		return nil, ErrNotFound
	}
	return found, errors.Join(errs...)
}

func (c *Client) get(ctx context.Context, u string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, fmt.Errorf("keyfetch: %w", err)
	}
	req.Header.Set("User-Agent", "Drawbridge")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("keyfetch: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, ErrNotFound
	default:
		return nil, fmt.Errorf("keyfetch: %s says %d", req.URL.Host, resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKey+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("keyfetch: %s: %w", req.URL.Host, err)
	case len(data) > maxKey:
		return nil, fmt.Errorf("keyfetch: %s sends more than %d KiB", req.URL.Host, maxKey>>10)
	}
	return data, nil
}

// wkdURLs returns where the key of an address is by the draft's two methods: the
// direct one is for domains without an openpgpkey host, and for no other trouble.
func wkdURLs(address string) (advanced, direct string, ok bool) {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" || !hostname(domain) {
		return "", "", false
	}
	domain = strings.ToLower(domain)
	sum := sha1.Sum([]byte(lowerASCII(local)))
	hu := "/hu/" + zbase32(sum[:]) + "?l=" + url.QueryEscape(local)
	return "https://openpgpkey." + domain + "/.well-known/openpgpkey/" + domain + hu,
		"https://" + domain + "/.well-known/openpgpkey" + hu, true
}

// hostname reports whether s is a name with a dot and no more than names have: what
// is configured elsewhere, or stands in a key, must not become another URL.
func hostname(s string) bool {
	if len(s) > 253 || !strings.Contains(strings.Trim(s, "."), ".") || net.ParseIP(s) != nil {
		return false
	}
	return strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// lowerASCII maps only ASCII letters, as the draft says.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// zbase32 encodes whole groups of five bytes (RFC 6189 §5.1.6).
func zbase32(b []byte) string {
	const alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"
	var out strings.Builder
	var acc uint
	bits := 0
	for _, c := range b {
		acc, bits = acc<<8|uint(c), bits+8
		for bits >= 5 {
			bits -= 5
			out.WriteByte(alphabet[acc>>bits&31])
		}
	}
	return out.String()
}
