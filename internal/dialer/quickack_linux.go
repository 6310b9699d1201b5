package dialer

import (
	"net"
	"syscall"
)

// quickAckConn acknowledges at once what it reads. The kernel forgets
// TCP_QUICKACK, so it is set again after every read.
type quickAckConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// QuickAck returns conn with TCP_NODELAY and TCP_QUICKACK set for its life. A
// connection that is not TCP is returned as it is.
func QuickAck(conn net.Conn) net.Conn {
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return conn
	}
	_ = tc.SetNoDelay(true) // latency only; the default already
	q := &quickAckConn{TCPConn: tc, raw: raw}
	q.arm()
	return q
}

func (q *quickAckConn) arm() {
	// An error shows itself at the next read or write.
	_ = q.raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}

// Read reads and re-arms TCP_QUICKACK.
func (q *quickAckConn) Read(p []byte) (int, error) {
	n, err := q.TCPConn.Read(p)
	if n > 0 {
		q.arm()
	}
	return n, err
}
