package element

// Limits bound what Parse takes in. Zero fields have the defaults stated.
type Limits struct {
	Bytes    int // of the whole element; default 256 KiB
	Depth    int // of nesting, the element itself being 1; default 32
	Attrs    int // of one element, namespace declarations included; default 64
	Children int // of one element; default 4096
	Elements int // in the whole tree; default 16384
}

func (l Limits) withDefaults() Limits {
	def := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	def(&l.Bytes, 256<<10)
	def(&l.Depth, 32)
	def(&l.Attrs, 64)
	def(&l.Children, 4096)
	def(&l.Elements, 16384)
	return l
}
