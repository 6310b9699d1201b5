package main

import (
	"fmt"
	"io"
	"strings"

	"rsc.io/qr"

	"drawbridge/xmpp/e2ee"
)

// keyURI is what phones scan to compare a key of the bot's: of an OTR key what
// Conversations and ChatSecure make and read, a URI of the address with the
// fingerprint in its query (in lower case, as Conversations compares it), and of an
// OpenPGP key the URI that OpenKeychain reads.
func keyURI(kind e2ee.KeyKind, jid, fpr string) string {
	if kind == e2ee.KeyOTR {
		return "xmpp:" + bareJID(jid) + "?otr-fingerprint=" + strings.ToLower(fpr)
	}
	return "OPENPGP4FPR:" + fpr
}

// quietZone is the margin of a QR code, in modules (ISO/IEC 18004).
const quietZone = 4

// writeQR draws text as a QR code, two modules to a character. Its colours are set,
// so that it is dark on light in terminals of either kind.
func writeQR(w io.Writer, text string) error {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return fmt.Errorf("QR code: %w", err)
	}
	const black, white, reset = "\x1b[30m", "\x1b[107m", "\x1b[0m"
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		var line strings.Builder
		for x := -quietZone; x < code.Size+quietZone; x++ {
			line.WriteString([]string{" ", "▀", "▄", "█"}[bit(code.Black(x, y))+2*bit(code.Black(x, y+1))])
		}
		if _, err := fmt.Fprintf(w, "%s%s%s%s\n", black, white, line.String(), reset); err != nil {
			return err
		}
	}
	return nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
