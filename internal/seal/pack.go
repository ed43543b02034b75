package seal

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// maxPlain bounds what a sealed value of maxSealed bytes opens to.
const maxPlain = maxSealed

var errPlain = errors.New("more than a sealed value may hold")

// packing compresses the values of one box.
type packing struct {
	dictionary  []byte
	compressors sync.Pool // they are large, and any request may cause a value
}

func newPacking(dictionary string) *packing {
	p := &packing{dictionary: []byte(dictionary)}
	p.compressors.New = func() any {
		w, err := flate.NewWriterDict(io.Discard, flate.BestCompression, p.dictionary)
		if err != nil {
			panic("internal error: " + err.Error()) // the level is a constant
		}
		return w
	}
	return p
}

func (p *packing) pack(plain []byte) []byte {
	var b bytes.Buffer
	w := p.compressors.Get().(*flate.Writer)
	defer p.compressors.Put(w)
	w.Reset(&b)
	w.Write(plain) // to memory: it cannot fail
	w.Close()
	return b.Bytes()
}

func (p *packing) unpack(packed []byte) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(bytes.NewReader(packed), p.dictionary), maxPlain+1))
	if err == nil && len(plain) > maxPlain {
		err = errPlain
	}
	return plain, err
}
