package openpgp

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// isKBX reports whether data starts like a GnuPG keybox: a header blob with the
// magic "KBXf" at offset 8.
func isKBX(data []byte) bool {
	return len(data) >= 32 && data[4] == 1 && bytes.Equal(data[8:12], []byte("KBXf"))
}

// readKBX returns the OpenPGP key blocks of a keybox (GnuPG's pubring.kbx; see
// kbx/keybox-blob.c). A blob is: u32 its length, u8 its type (2 is OpenPGP), then
// at 8 and 12 the offset and length of the key block, all big-endian. Blobs of
// other types are passed over. The blocks are slices of data.
func readKBX(data []byte) ([][]byte, error) {
	var out [][]byte
	for at := 0; at < len(data); {
		rest := data[at:]
		if len(rest) < 5 {
			return nil, fmt.Errorf("keybox cut short at %d", at)
		}
		n := uint64(binary.BigEndian.Uint32(rest))
		if n < 5 || n > uint64(len(rest)) {
			return nil, fmt.Errorf("keybox blob at %d has a wrong length", at)
		}
		blob := rest[:n]
		at += int(n)
		if blob[4] != 2 {
			continue
		}
		if len(blob) < 16 {
			return nil, fmt.Errorf("keybox blob before %d is too short", at)
		}
		off, size := uint64(binary.BigEndian.Uint32(blob[8:])), uint64(binary.BigEndian.Uint32(blob[12:]))
		if off+size > uint64(len(blob)) {
			return nil, fmt.Errorf("keybox blob before %d points outside of itself", at)
		}
		out = append(out, blob[off:off+size])
	}
	return out, nil
}
