package ox

import (
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/openpgp"
)

// benchText is a line of chat, 150 bytes.
var benchText = e2eetest.Text(strings.Repeat("a line of chat ", 10))

// forgetful remembers nothing: a benchmark opens one message many times.
type forgetful struct{}

func (forgetful) Mark([]byte, string, string, time.Time) (e2ee.Verdict, []byte) {
	return e2ee.Fresh, nil
}
func (forgetful) Horizon(now time.Time) time.Time { return now.Add(-time.Hour) }

// Benchmark measures one line sealed and opened, beside the same in XEP-0027.
func Benchmark(b *testing.B) {
	bot, alice, toAlice, toBot := pair(b, Deps{Replay: forgetful{}})
	keys := bot.keyring
	legacy := openpgp.New(openpgp.Config{Secret: bot.codec.Secret(), Keyring: keys}, openpgp.Deps{Replay: forgetful{}})
	for _, tt := range []struct {
		name string
		to   e2ee.Scheme
		from e2ee.Scheme
	}{
		{"ox", bot, alice},
		{"openpgp", legacy, openpgp.New(openpgp.Config{Secret: alice.codec.Secret(), Keyring: keys}, openpgp.Deps{})},
	} {
		b.Run("seal/"+tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tt.to.Seal(b.Context(), toAlice, benchText); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("open/"+tt.name, func(b *testing.B) {
			out, err := tt.from.Seal(b.Context(), toBot, benchText)
			if err != nil {
				b.Fatal(err)
			}
			in := e2ee.Incoming{Children: []*element.Element{out.Children[0]}, Stamp: time.Now()}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tt.to.Open(b.Context(), toAlice, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
