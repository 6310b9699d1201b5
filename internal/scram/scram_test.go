package scram_test

import (
	"errors"
	"testing"
	"time"

	"mellium.im/sasl"

	"drawbridge/internal/scram"
)

var challenges = []struct {
	in   string
	want error
}{
	{"r=abc,s=c2FsdA==,i=4096", nil},
	{"r=abc,s=c2FsdA==,i=2000000,x=extension", nil},
	{"", scram.ErrMalformed},
	{"r=,s=,i=", scram.ErrMalformed},
	{"x", scram.ErrMalformed},
	{"r=abc,s=c2FsdA==,i=4096,x", scram.ErrMalformed},
	{"r=abc,s=c2FsdA==,i=4096,", scram.ErrMalformed},
	{"r=abc,s=c2FsdA==,i=4096,xyz", scram.ErrMalformed},
	{"r=abc,s=c2FsdA==", scram.ErrMalformed},
	{"r=abc,s=c2FsdA==,i=1", scram.ErrRounds},
	{"r=abc,s=c2FsdA==,i=-4096", scram.ErrRounds},
	{"r=abc,s=c2FsdA==,i=2000001", scram.ErrRounds},
	{"r=abc,s=c2FsdA==,i=99999999999999999999", scram.ErrRounds},
	{"r=abc,s=c2FsdA==,i=4096,i=99999999", scram.ErrRounds},
	{"r=abc,s=c2FsdA==,i=4096x", scram.ErrRounds},
}

func TestCheckServerFirst(t *testing.T) {
	for _, tt := range challenges {
		if err := scram.CheckServerFirst([]byte(tt.in)); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("CheckServerFirst(%q) = %v, want %v", tt.in, err, tt.want)
		}
	}
}

// FuzzCheckServerFirst: what passes does not hold the library up.
func FuzzCheckServerFirst(f *testing.F) {
	for _, tt := range challenges {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if scram.CheckServerFirst(in) != nil {
			return
		}
		client := sasl.NewClient(sasl.ScramSha256, sasl.Credentials(func() (user, pass, identity []byte) {
			return []byte("user"), []byte("pass"), nil
		}))
		if _, _, err := client.Step(nil); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { // the nonce is never ours: it ends before the rounds
			defer close(done)
			_, _, _ = client.Step(in)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("the library does not end on %q", in)
		}
	})
}
