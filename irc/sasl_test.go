package irc

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/pbkdf2"
	"mellium.im/sasl"

	"drawbridge/internal/scram"
)

// scramServer is the other end of SCRAM-SHA-256, for the account "acc".
func scramServer(password string) *sasl.Negotiator {
	salt := []byte("0123456789abcdef")
	return sasl.NewServer(sasl.ScramSha256, func(*sasl.Negotiator) bool { return true },
		sasl.SaltedCredentials(func(user, _ []byte, _ string) ([]byte, []byte, int64, error) {
			if string(user) != "acc" {
				return nil, nil, 0, sasl.ErrAuthn
			}
			return salt, pbkdf2.Key([]byte(password), salt, scram.MinRounds, sha256.Size, sha256.New), scram.MinRounds, nil
		}))
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func plain64(t *testing.T, parts []string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.Join(parts, ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// login runs SCRAM against a server and returns the exchange; tamper may change
// what the server says in its n-th challenge.
func login(t *testing.T, server *sasl.Negotiator, tamper func(n int, challenge string) string) (*saslExchange, error) {
	t.Helper()
	x, err := newSASL(SASLConfig{Mechanism: SASLScramSHA256, Account: "acc", Password: "sekrit"}, "PLAIN,SCRAM-SHA-256")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := x.step("+")
	for n := 1; err == nil && n <= 2; n++ {
		_, challenge, serr := server.Step(plain64(t, answer))
		if serr != nil {
			challenge = []byte("e=invalid-proof")
		}
		answer, err = x.step(b64(tamper(n, string(challenge))))
	}
	return x, err
}

func TestScram(t *testing.T) {
	as := func(_ int, c string) string { return c }
	first := func(f func(string) string) func(int, string) string {
		return func(n int, c string) string {
			if n == 1 {
				return f(c)
			}
			return c
		}
	}
	for _, tt := range []struct {
		name, password string
		tamper         func(int, string) string
		want           string // part of the error; "" is success
	}{
		{"right", "sekrit", as, ""},
		{"wrong password", "other", as, "wrong account or password"},
		{"the server's signature is wrong", "sekrit", func(n int, c string) string {
			if n == 2 {
				return "v=" + b64(strings.Repeat("x", 32))
			}
			return c
		}, "signature is wrong"},
		{"another nonce", "sekrit", first(func(c string) string { return "r=x" + c[2:] }), "nonce"},
		{"rounds for hours", "sekrit", first(func(c string) string { return strings.Replace(c, "i=4096", "i=2000000000", 1) }), "round count"},
		{"hardly any rounds", "sekrit", first(func(c string) string { return strings.Replace(c, "i=4096", "i=1", 1) }), "round count"},
		{"a short field at the end, at which mellium.im/sasl v0.3.2 loops for ever", "sekrit", first(func(c string) string { return c + ",x" }), "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := login(t, scramServer(tt.password), tt.tamper)
			switch {
			case tt.want == "" && (err != nil || !x.proven()):
				t.Errorf("err = %v, proven = %v", err, x.proven())
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, ErrSASL)):
				t.Errorf("err = %v, want one about %q", err, tt.want)
			case tt.want != "" && x.proven():
				t.Error("a failed exchange counts as proven")
			}
		})
	}
}

var slowRounds = regexp.MustCompile(`i=[0-9+]{5,}`)

// FuzzSASL hands any challenges to an exchange: nothing but the right signature
// may count as a proof, and nothing may hold us.
func FuzzSASL(f *testing.F) {
	f.Add("+", "+")
	f.Add(b64("r=abc,s=MDEyMw==,i=4096"), b64("v="+b64(strings.Repeat("x", 32))))
	f.Add(b64("r=abc,s=MDEyMw==,i=4096,x"), b64("e=invalid-proof"))
	f.Add(strings.Repeat("A", 400), "+")
	f.Add("*", "=")
	f.Fuzz(func(t *testing.T, first, second string) {
		if c, _ := base64.StdEncoding.DecodeString(first); slowRounds.Match(c) {
			t.Skip() // counts that are allowed, and slow under the fuzzer
		}
		x, err := newSASL(SASLConfig{Mechanism: SASLScramSHA256, Account: "acc", Password: "sekrit"}, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, chunk := range []string{"+", first, second, "+"} {
			answer, err := x.step(chunk)
			if err != nil {
				return
			}
			for _, a := range answer {
				if len(a) > 400 || a == "" || strings.ContainsAny(a, " \r\n") {
					t.Fatalf("answer %q", a)
				}
			}
		}
		if x.proven() {
			t.Fatal("proven without the server's signature")
		}
	})
}

func TestPlainIsChunked(t *testing.T) {
	x, err := newSASL(SASLConfig{Mechanism: SASLPlain, Account: "acc", Password: strings.Repeat("p", 295)}, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.step("+")
	if err != nil || len(got) != 2 || len(got[0]) != 400 || got[1] != "+" {
		t.Errorf("%d chunks (%d), %v: 300 bytes are 400 of base64 and a +", len(got), len(strings.Join(got, "")), err)
	}
}

func TestConfigErrors(t *testing.T) {
	good := Config{Name: "net", Servers: []string{"irc.test:6697"}, Nick: "bot"}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   error
	}{
		{"good", func(*Config) {}, nil},
		{"no server", func(c *Config) { c.Servers = nil }, ErrConfig},
		{"no port", func(c *Config) { c.Servers = []string{"irc.test"} }, ErrConfig},
		{"no nick", func(c *Config) { c.Nick = "" }, ErrConfig},
		{"nick with a line break", func(c *Config) { c.Nick = "a\nQUIT" }, ErrConfig},
		{"PLAIN without TLS", func(c *Config) {
			c.TLSOff, c.SASL = true, SASLConfig{Mechanism: SASLPlain, Password: "p"}
		}, ErrPlainSASL},
		{"SCRAM without TLS is fine", func(c *Config) {
			c.TLSOff, c.SASL = true, SASLConfig{Mechanism: SASLScramSHA256, Password: "p"}
		}, nil},
		{"EXTERNAL without a certificate", func(c *Config) { c.SASL.Mechanism = SASLExternal }, ErrConfig},
		{"no password", func(c *Config) { c.SASL.Mechanism = SASLPlain }, ErrConfig},
		{"unknown mechanism", func(c *Config) { c.SASL.Mechanism = "cram" }, ErrConfig},
		{"no channel", func(c *Config) { c.Channels = []ChannelConfig{{Name: "dev"}} }, ErrConfig},
		{"two channels in one", func(c *Config) { c.Channels = []ChannelConfig{{Name: "#a,#b"}} }, ErrConfig},
		{"key with a blank", func(c *Config) { c.Channels = []ChannelConfig{{Name: "#a", Key: "a b"}} }, ErrConfig},
		{"the same channel twice", func(c *Config) { c.Channels = []ChannelConfig{{Name: "#a[", Key: ""}, {Name: "#A{"}} }, ErrDupeChannel},
		{"password with a line break", func(c *Config) { c.Password = "a\r\nQUIT" }, ErrConfig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			if _, err := New(cfg, Deps{}); !errors.Is(err, tt.want) {
				t.Errorf("New = %v, want %v", err, tt.want)
			}
		})
	}
	bad := good
	bad.CAFile = "testdata/no-such-file"
	if _, err := New(bad, Deps{}); err == nil || !strings.Contains(fmt.Sprint(err), "no-such-file") {
		t.Errorf("a CA file that is not there: %v", err)
	}
}
