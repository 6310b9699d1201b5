package openpgp

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drawbridge/xmpp/e2ee"
)

// maxInner bounds what a compressed packet inflates to, in bytes: a text of
// maxPlain and its signature.
const maxInner = 64 << 10

// maxInnerPackets bounds the packets inside of the encryption.
const maxInnerPackets = 8

// inner is what is inside of an encryption.
type inner struct {
	data []byte    // the text
	date time.Time // of the literal data, zero if it has none
	sig  *packet.Signature
}

// readInner reads the packets inside of an encryption (RFC 4880 §11.3): literal
// data, maybe with one signature around it or before it, maybe compressed once.
// More than one signature, or data, is refused: it would not be clear whose or
// which counts. The result shares plain or b.inner.
func readInner(b *buffers, plain []byte, mayInflate bool) (inner, error) {
	var m inner
	var ops *packet.OnePassSignature
	haveData := false
	for n := 0; len(plain) > 0; n++ {
		p, rest, err := nextPacket(plain)
		if err != nil {
			return inner{}, err
		}
		if n >= maxInnerPackets {
			return inner{}, fmt.Errorf("%w: too many packets", e2ee.ErrMalformed)
		}
		plain = rest
		switch p.tag {
		case tagMarker, tagPadding:
		case tagCompressed:
			if !mayInflate || n > 0 || len(rest) > 0 {
				return inner{}, fmt.Errorf("%w: compressed where it may not be", e2ee.ErrMalformed)
			}
			if err := b.inflate(p.body); err != nil {
				return inner{}, err
			}
			return readInner(b, b.inner, false)
		case tagOnePass:
			if ops != nil || m.sig != nil || haveData {
				return inner{}, fmt.Errorf("%w: more than one signature", e2ee.ErrMalformed)
			}
			got, err := packet.Read(bytes.NewReader(p.raw))
			if err != nil {
				return inner{}, fmt.Errorf("%w: announced by what cannot be read", e2ee.ErrSignature)
			}
			ops = got.(*packet.OnePassSignature)
		case tagSignature:
			if m.sig != nil || haveData && ops == nil || !haveData && ops != nil {
				return inner{}, fmt.Errorf("%w: signature out of place", e2ee.ErrMalformed)
			}
			if m.sig, err = parseSignature(p); err != nil {
				return inner{}, err
			}
		case tagLiteral:
			if haveData {
				return inner{}, fmt.Errorf("%w: more than one text", e2ee.ErrMalformed)
			}
			haveData = true
			if m.data, m.date, err = literal(p.body); err != nil {
				return inner{}, err
			}
		default:
			return inner{}, fmt.Errorf("%w: packet %d inside of the encryption", e2ee.ErrMalformed, p.tag)
		}
	}
	switch {
	case !haveData:
		return inner{}, fmt.Errorf("%w: no text inside", e2ee.ErrMalformed)
	case ops != nil && m.sig == nil:
		return inner{}, fmt.Errorf("%w: announced, but not there", e2ee.ErrSignature)
	case ops != nil && (ops.KeyId != *m.sig.IssuerKeyId || ops.Hash != m.sig.Hash || ops.SigType != m.sig.SigType):
		return inner{}, fmt.Errorf("%w: not the one that was announced", e2ee.ErrSignature)
	case len(m.data) > maxPlain:
		return inner{}, fmt.Errorf("%w: %d KiB of text", e2ee.ErrTooLarge, len(m.data)>>10)
	}
	return m, nil
}

// literal reads the body of a literal data packet (RFC 4880 §5.9).
func literal(body []byte) ([]byte, time.Time, error) {
	if len(body) < 6 || len(body) < 6+int(body[1]) {
		return nil, time.Time{}, fmt.Errorf("%w: literal data cut short", e2ee.ErrMalformed)
	}
	body = body[2+int(body[1]):]
	var date time.Time
	if t := binary.BigEndian.Uint32(body); t != 0 {
		date = time.Unix(int64(t), 0)
	}
	return body[4:], date, nil
}

// inflate puts what a compressed packet holds into b.inner. It is an error if
// that is longer than maxInner.
func (b *buffers) inflate(body []byte) error {
	if len(body) < 2 {
		return fmt.Errorf("%w: compressed data cut short", e2ee.ErrMalformed)
	}
	src := bytes.NewReader(body[1:])
	var r io.Reader
	var err error
	switch algo := packet.CompressionAlgo(body[0]); algo {
	case packet.CompressionNone:
		r = src
	case packet.CompressionZIP:
		if b.flate == nil {
			b.flate = flate.NewReader(src)
		}
		r, err = b.flate, b.flate.(flate.Resetter).Reset(src, nil)
	case packet.CompressionZLIB:
		if b.zlib == nil {
			b.zlib, err = zlib.NewReader(src)
		} else {
			err = b.zlib.(zlib.Resetter).Reset(src, nil)
		}
		r = b.zlib
	case 3:
		r = bzip2.NewReader(src)
	default:
		return fmt.Errorf("%w: unknown compression %d", e2ee.ErrMalformed, algo)
	}
	if err != nil {
		return fmt.Errorf("%w: compressed data is damaged", e2ee.ErrMalformed)
	}
	buf := bytes.NewBuffer(b.inner[:0])
	n, err := buf.ReadFrom(io.LimitReader(r, maxInner+1))
	b.inner = buf.Bytes()
	switch {
	case n > maxInner:
		return fmt.Errorf("%w: inflates to more than %d KiB", e2ee.ErrTooLarge, maxInner>>10)
	case err != nil:
		return fmt.Errorf("%w: compressed data is damaged", e2ee.ErrMalformed)
	}
	return nil
}
