package openpgp

import (
	"encoding/base64"
	"fmt"
	"strings"

	"drawbridge/xmpp/e2ee"
)

// armorLine is the width of a line of armor. Psi reads one long line only if it
// has a checksum, everybody reads 64 columns.
const armorLine = 64

// appendArmor appends data as XEP-0027 wants it: the armor's base64 at 64 columns
// and its checksum line, without BEGIN, END, header lines and the last newline.
func appendArmor(dst, data []byte) []byte {
	crc := crc24(data)
	const raw = armorLine / 4 * 3
	for len(data) > raw {
		dst = append(base64.StdEncoding.AppendEncode(dst, data[:raw]), '\n')
		data = data[raw:]
	}
	dst = append(base64.StdEncoding.AppendEncode(dst, data), "\n="...)
	return base64.StdEncoding.AppendEncode(dst, []byte{byte(crc >> 16), byte(crc >> 8), byte(crc)})
}

// decodeArmor reads what clients put into <x/>, appending the bytes to dst: armor
// with or without BEGIN and END, header lines, CR, line breaks, or a checksum. A
// wrong checksum is refused, as is anything that is not base64. s is bounded by
// the caller.
func decodeArmor(dst []byte, s string) ([]byte, error) {
	body, err := armorBody(s)
	if err != nil {
		return nil, err
	}
	flat := make([]byte, 0, len(body))
	for i := range len(body) {
		switch c := body[i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			flat = append(flat, c)
		}
	}
	// The checksum is "=" and four digits after whole groups of four; padding can
	// not be mistaken for it, as only "=" follows the first "=" of padding.
	var sum []byte
	if n := len(flat) - 5; n >= 0 && n%4 == 0 && flat[n] == '=' && flat[n+4] != '=' {
		flat, sum = flat[:n], flat[n+1:]
	}
	enc := base64.StdEncoding
	if len(flat)%4 != 0 {
		enc = base64.RawStdEncoding
	}
	start := len(dst)
	if dst, err = enc.AppendDecode(dst, flat); err != nil {
		return nil, fmt.Errorf("%w: armor is not base64", e2ee.ErrMalformed)
	}
	if len(dst) == start {
		return nil, fmt.Errorf("%w: empty armor", e2ee.ErrMalformed)
	}
	if sum != nil {
		var want [3]byte
		if _, err := base64.StdEncoding.Decode(want[:], sum); err != nil {
			return nil, fmt.Errorf("%w: armor checksum is not base64", e2ee.ErrMalformed)
		}
		if crc24(dst[start:]) != uint32(want[0])<<16|uint32(want[1])<<8|uint32(want[2]) {
			return nil, fmt.Errorf("%w: armor checksum is wrong", e2ee.ErrMalformed)
		}
	}
	return dst, nil
}

// armorBody cuts off BEGIN, END and header lines. Clients that cut armor by
// counting lines leave headers behind when gpg.conf asks for a comment or version.
func armorBody(s string) (string, error) {
	s = strings.TrimLeft(s, " \t\r\n")
	if strings.HasPrefix(s, "-----BEGIN ") {
		_, rest, ok := strings.Cut(s, "\n")
		if !ok {
			return "", fmt.Errorf("%w: armor ends in its first line", e2ee.ErrMalformed)
		}
		s = rest
	}
	if i := strings.Index(s, "-----END "); i >= 0 {
		s = s[:i]
	}
	for {
		line, rest, ok := strings.Cut(s, "\n")
		if !ok || !strings.Contains(line, ":") && strings.TrimSpace(line) != "" {
			return s, nil
		}
		s = rest
	}
}

// crc24 is the checksum of RFC 4880 §6.1.
func crc24(data []byte) uint32 {
	crc := uint32(0xb704ce)
	for _, b := range data {
		crc = crc<<8 ^ crcTable[byte(crc>>16)^b]
	}
	return crc & 0xffffff
}

var crcTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 16
		for range 8 {
			if c <<= 1; c&0x1000000 != 0 {
				c ^= 0x1864cfb
			}
		}
		t[i] = c & 0xffffff
	}
	return t
}()
