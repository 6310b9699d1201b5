package openpgp

import (
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// maxClearSigned bounds what is read of a message that holds a clear-signed text, in
// bytes.
const maxClearSigned = 32 << 10

// The lines of a clear-signed text (RFC 4880 §7).
const (
	beginSigned    = "-----BEGIN PGP SIGNED MESSAGE-----"
	beginSignature = "-----BEGIN PGP SIGNATURE-----"
	endSignature   = "-----END PGP SIGNATURE-----"
)

// ClearSigned is a clear-signed text (RFC 4880 §7) whose signature nobody has checked.
type ClearSigned struct {
	// Text is what was signed: without the escaping of dashes, LF between lines, without
	// blanks at the ends of lines and without the line break before the signature.
	Text string
	sig  *packet.Signature
}

// ParseClearSigned reads the one clear-signed text that a message holds. What stands
// before and after it is not looked at, but that there is no second one: it would not be
// clear which counts. So is more than one signature refused, a header that is not Hash,
// and a line that should be escaped and is not. Errors are e2ee.ErrMalformed,
// e2ee.ErrSignature, e2ee.ErrTooLarge.
func ParseClearSigned(msg string) (*ClearSigned, error) {
	if len(msg) > maxClearSigned {
		return nil, fmt.Errorf("%w: %d KiB", e2ee.ErrTooLarge, len(msg)>>10)
	}
	lines := strings.Split(msg, "\n")
	for i := range lines { // blanks at the end of a line are not signed (§7.1)
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	rest, err := cutAt(lines, beginSigned)
	if err != nil {
		return nil, err
	}
	if rest, err = skipHashes(rest); err != nil {
		return nil, err
	}
	text := make([]string, 0, len(rest))
	for {
		if len(rest) == 0 {
			return nil, fmt.Errorf("%w: no signature follows the signed text", e2ee.ErrMalformed)
		}
		line := rest[0]
		rest = rest[1:]
		if line == beginSignature {
			break
		}
		plain, escaped := strings.CutPrefix(line, "- ")
		switch {
		case !escaped && strings.HasPrefix(line, "-") && line != "-": // "- " has lost its blank
			return nil, fmt.Errorf("%w: a line of the signed text begins with a dash that is not escaped", e2ee.ErrMalformed)
		case line == "-":
			plain = ""
		}
		text = append(text, plain)
	}
	body, ok := untilEnd(rest)
	if !ok {
		return nil, fmt.Errorf("%w: the signature does not end", e2ee.ErrMalformed)
	}
	raw, err := decodeArmor(nil, body)
	if err != nil {
		return nil, err
	}
	sig, more, err := readSignature(raw)
	switch {
	case err != nil:
		return nil, err
	case len(more) > 0:
		return nil, fmt.Errorf("%w: more than one signature", e2ee.ErrMalformed)
	case sig.SigType != packet.SigTypeText:
		return nil, fmt.Errorf("%w: of type %#02x, not of a text", e2ee.ErrSignature, uint8(sig.SigType))
	}
	return &ClearSigned{Text: strings.Join(text, "\n"), sig: sig}, nil
}

// cutAt returns the lines behind the only one that begins a clear-signed text.
func cutAt(lines []string, begin string) ([]string, error) {
	at := -1
	for i, line := range lines {
		switch {
		case line != begin:
		case at >= 0:
			return nil, fmt.Errorf("%w: more than one signed text", e2ee.ErrMalformed)
		default:
			at = i
		}
	}
	if at < 0 {
		return nil, fmt.Errorf("%w: no line begins a signed text", e2ee.ErrMalformed)
	}
	return lines[at+1:], nil
}

// skipHashes reads the headers before the text: Hash, and nothing else, since nothing
// there is signed (§7). The signature itself says which digest it is of. An empty line
// must follow.
func skipHashes(lines []string) ([]string, error) {
	for i, line := range lines {
		name, _, ok := strings.Cut(line, ": ")
		switch {
		case line == "":
			return lines[i+1:], nil
		case !ok || name != "Hash":
			return nil, fmt.Errorf("%w: what stands above the signed text is not signed", e2ee.ErrMalformed)
		}
	}
	return nil, fmt.Errorf("%w: no signed text", e2ee.ErrMalformed)
}

// untilEnd returns the lines up to the end of a signature.
func untilEnd(lines []string) (string, bool) {
	for i, line := range lines {
		if line == endSignature {
			return strings.Join(lines[:i], "\n"), true
		}
	}
	return "", false
}

// Signed is what a clear-signed text proves.
type Signed struct {
	Text        string
	At          time.Time // by the signer's clock
	Fingerprint string    // of the primary key
	Rung        policy.Rung
}

// OpenClearSigned reads the clear-signed text in msg and checks that a key of the person
// made its signature which counts now: neither revoked nor expired, then or now. Errors
// are those of ParseClearSigned, and e2ee.ErrSignature, e2ee.ErrKeyChanged (signed by
// another key), e2ee.ErrKeyRevoked, e2ee.ErrNoKey. They quote nothing of the text.
func (c *Codec) OpenClearSigned(p e2ee.Peer, msg string) (out Signed, err error) {
	defer recoverTo(&err, "clear-signed text of", p)
	if p.Person == nil {
		return Signed{}, e2ee.ErrNoKey
	}
	m, err := ParseClearSigned(msg)
	if err != nil {
		return Signed{}, err
	}
	rung, fpr, err := c.verify(p, m.sig, []byte(m.Text), false)
	if err != nil {
		return Signed{}, err
	}
	return Signed{Text: m.Text, At: m.sig.CreationTime, Fingerprint: fpr, Rung: rung}, nil
}
