package openpgp

import (
	"encoding/binary"
	"fmt"

	"drawbridge/xmpp/e2ee"
)

// Packet tags of RFC 4880 §4.3 (and RFC 9580 for padding) that messages have.
const (
	tagSessionKey = 1  // session key, to a public key
	tagSignature  = 2  //
	tagPassphrase = 3  // session key, by a passphrase
	tagOnePass    = 4  // announces a signature
	tagCompressed = 8  //
	tagMarker     = 10 // "PGP", to be ignored
	tagLiteral    = 11 //
	tagProtected  = 18 // encrypted with a check of integrity
	tagMDC        = 19 //
	tagAEAD       = 20 // GnuPG 2.3's OCB mode
	tagPadding    = 21 // to be ignored
)

// pkt is one packet.
type pkt struct {
	tag  byte
	body []byte // without its header; partial bodies are joined
	raw  []byte // with its header, as it stood
}

// nextPacket cuts the first packet off data. Lengths may be of either format,
// partial or indeterminate (GnuPG writes compressed packets so), but only a data
// packet may be partial (RFC 4880 §4.2.2.4). body shares data unless joined.
func nextPacket(data []byte) (p pkt, rest []byte, err error) {
	bad := func(what string) (pkt, []byte, error) {
		return pkt{}, nil, fmt.Errorf("%w: %s", e2ee.ErrMalformed, what)
	}
	if len(data) < 2 || data[0]&0x80 == 0 {
		return bad("no packet header")
	}
	start := data
	head := data[0]
	if head&0x40 == 0 { // old format
		p.tag = head >> 2 & 0xf
		kind := head & 3
		if kind == 3 {
			return pkt{p.tag, data[1:], data}, nil, nil
		}
		size := 1 << kind
		if len(data) < 1+size {
			return bad("packet header cut short")
		}
		var n uint64
		for _, b := range data[1 : 1+size] {
			n = n<<8 | uint64(b)
		}
		data = data[1+size:]
		if n > uint64(len(data)) {
			return bad("packet cut short")
		}
		return pkt{p.tag, data[:n], start[:1+size+int(n)]}, data[n:], nil
	}
	p.tag = head & 0x3f
	data = data[1:]
	for joined := false; ; joined = true {
		n, used, partial := newLength(data)
		if used == 0 || n > uint64(len(data)-used) {
			return bad("packet cut short")
		}
		chunk := data[used : used+int(n)]
		data = data[used+int(n):]
		if partial && p.tag != tagCompressed && p.tag != tagLiteral && p.tag != tagProtected && p.tag != tagAEAD {
			return bad("partial length on a packet that may not have one")
		}
		switch {
		case !joined && !partial:
			p.body = chunk
		case !joined:
			p.body = append(make([]byte, 0, len(data)+len(chunk)), chunk...)
		default:
			p.body = append(p.body, chunk...)
		}
		if !partial {
			p.raw = start[:len(start)-len(data)]
			return p, data, nil
		}
	}
}

// newLength reads a length of the new format: used is 0 if it is cut short.
func newLength(b []byte) (n uint64, used int, partial bool) {
	switch {
	case len(b) == 0:
		return 0, 0, false
	case b[0] < 192:
		return uint64(b[0]), 1, false
	case b[0] < 224:
		if len(b) < 2 {
			return 0, 0, false
		}
		return uint64(b[0]-192)<<8 + uint64(b[1]) + 192, 2, false
	case b[0] < 255:
		return 1 << (b[0] & 0x1f), 1, true
	case len(b) < 5:
		return 0, 0, false
	}
	return uint64(binary.BigEndian.Uint32(b[1:])), 5, false
}

// appendHeader appends a packet header of the new format.
func appendHeader(dst []byte, tag byte, n int) []byte {
	dst = append(dst, 0xc0|tag)
	switch {
	case n < 192:
		return append(dst, byte(n))
	case n < 8384:
		return append(dst, byte((n-192)>>8)+192, byte(n-192))
	}
	return binary.BigEndian.AppendUint32(append(dst, 255), uint32(n))
}
