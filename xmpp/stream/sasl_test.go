package stream

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"mellium.im/sasl"
)

var slowRounds = regexp.MustCompile(`i=[0-9+]{5,}`)

// FuzzChallenge hands any two challenges, as they stand in the XML, to a login by
// SCRAM-SHA-256: it ends, without a panic, and nothing but the right signature
// may count as the server's proof.
func FuzzChallenge(f *testing.F) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	f.Add(b64("r=abc,s=MDEyMw==,i=4096"), b64("v="+b64(strings.Repeat("x", 32))))
	f.Add(b64("r=abc,s=MDEyMw==,i=4096,x"), b64("e=invalid-proof"))
	f.Add(b64("r=,s=,i=0"), "=")
	f.Add("*", "")
	f.Fuzz(func(t *testing.T, first, second string) {
		client := sasl.NewClient(sasl.ScramSha256, sasl.Credentials(func() ([]byte, []byte, []byte) {
			return []byte("bot"), []byte("secret"), nil
		}))
		if _, _, err := client.Step(nil); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{first, second} {
			data, err := decode(text)
			if err != nil {
				return
			}
			if slowRounds.Match(data) {
				t.Skip() // counts that are allowed, and slow under the fuzzer
			}
			more, _, err := step(client, sasl.ScramSha256.Name, data)
			if err != nil {
				return
			}
			if !more {
				t.Fatal("taken for the server's proof")
			}
		}
	})
}
