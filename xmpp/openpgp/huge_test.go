package openpgp

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
)

// TestLearnHugeNumbers: a key with numbers of half a hundred thousand bits would keep
// one core, and the keyring, busy for hours. It is refused before it is used.
func TestLearnHugeNumbers(t *testing.T) {
	mpi := func(bits int) []byte {
		return append([]byte{byte(bits >> 8), byte(bits)}, bytes.Repeat([]byte{0xff}, bits/8)...)
	}
	for _, tt := range []struct {
		name string
		algo byte
		nums []int // bits
	}{
		{"DSA", 17, []int{65528, 65528, 65528, 65528}},
		{"DSA with a huge q", 17, []int{2048, 65528, 2048, 2048}},
		{"RSA", 1, []int{65528, 24}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte{4, 0x60, 0, 0, 0, tt.algo}
			for _, bits := range tt.nums {
				body = append(body, mpi(bits)...)
			}
			sum := sha1.Sum(append([]byte{0x99, byte(len(body) >> 8), byte(len(body))}, body...))
			const uid = "xmpp:eve@example.org"
			sig := []byte{4, 0x13, tt.algo, 8, 0, 6, 5, 2, 0x60, 0, 0, 0, 0, 10, 9, 16}
			sig = append(append(append(sig, sum[12:]...), 0, 0), mpi(248)...)
			if tt.algo == 17 {
				sig = append(sig, mpi(248)...)
			}
			data := append(appendHeader(nil, tagPublicKey, len(body)), body...)
			data = append(appendHeader(data, tagUserID, len(uid)), uid...)
			data = append(appendHeader(data, tagSignature, len(sig)), sig...)
			keys, err := parseKeys(data)
			if err != nil {
				t.Fatalf("not a key to the library: %v", err)
			}
			ring, _ := ring(t, ourKey(t, "bot").Public)
			began := time.Now()
			done := make(chan error, 1)
			go func() {
				_, err := ring.Learn(data, fingerprint(keys[0].PrimaryKey), time.Now())
				done <- err
			}()
			select {
			case err := <-done:
				if !errors.Is(err, e2ee.ErrTooLarge) || !strings.Contains(err.Error(), "bits") {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			case <-time.After(20 * time.Second):
				t.Fatal("still at work")
			}
		})
	}
}
