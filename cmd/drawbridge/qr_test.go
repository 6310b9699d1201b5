package main

import (
	"strings"
	"testing"

	"rsc.io/qr"

	"drawbridge/xmpp/e2ee"
)

func TestKeyURI(t *testing.T) {
	fpr := "0123456789ABCDEF0123456789ABCDEF01234567"
	if got, want := keyURI(e2ee.KeyOTR, "bot@corp.example/bridge", fpr), "xmpp:bot@corp.example?otr-fingerprint=0123456789abcdef0123456789abcdef01234567"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := keyURI(e2ee.KeyOpenPGP, "bot@corp.example", fpr), "OPENPGP4FPR:"+fpr; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestWriteQR reads the drawing back, module by module.
func TestWriteQR(t *testing.T) {
	const text = "OPENPGP4FPR:0123456789ABCDEF0123456789ABCDEF01234567"
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := writeQR(&out, text); err != nil {
		t.Fatal(err)
	}
	y := -quietZone
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "\x1b[30m\x1b[107m"), "\x1b[0m")
		x := -quietZone
		for _, r := range line {
			top, bottom := r == '▀' || r == '█', r == '▄' || r == '█'
			if top != code.Black(x, y) || bottom != code.Black(x, y+1) {
				t.Fatalf("%q at %d,%d", r, x, y)
			}
			x++
		}
		if x != code.Size+quietZone {
			t.Fatalf("line %d is %d wide", y, x+quietZone)
		}
		y += 2
	}
	if y < code.Size+quietZone {
		t.Errorf("%d lines", y)
	}
}
