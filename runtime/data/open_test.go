package data_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

// idxDir writes a small MNIST-style folder: 3 training and 2 test images of 2x2.
func idxDir(t *testing.T, names [4]string) string {
	t.Helper()
	dir := t.TempDir()
	for i, content := range [4][]byte{
		idxFile(t, 0x08, []int{3, 2, 2}, count[uint8](12)),
		idxFile(t, 0x08, []int{3}, []uint8{5, 0, 4}),
		idxFile(t, 0x08, []int{2, 2, 2}, count[uint8](8)),
		idxFile(t, 0x08, []int{2}, []uint8{7, 2}),
	} {
		if strings.HasSuffix(names[i], ".gz") {
			content = zipped(t, content)
		}
		if err := os.WriteFile(filepath.Join(dir, names[i]), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var mnistNames = [4]string{"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}

func TestOpenIDXDirNames(t *testing.T) {
	for _, names := range [][4]string{
		mnistNames,
		{"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"},
		{"train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"},
		{"train-images.idx3-ubyte.gz", "train-labels-idx1-ubyte", "test-images-idx3-ubyte", "test-labels-idx1-ubyte.gz"},
	} {
		split, err := data.Open(idxDir(t, names))
		if err != nil {
			t.Errorf("%v: %v", names, err)
			continue
		}
		labels, images := make([]int64, 1), make([]float32, 4)
		split.Test.Batch(images, labels, []int{1})
		if split.Train.Len() != 3 || split.Test.Len() != 2 || labels[0] != 2 || images[3] != 7.0/255 {
			t.Errorf("%v: %d and %d samples, label %d, pixel %v", names, split.Train.Len(), split.Test.Len(), labels[0], images[3])
		}
	}
}

func TestOpenIDXDirBad(t *testing.T) {
	for _, c := range []struct {
		name, file string
		content    []byte // nil removes the file
		parts      []string
	}{
		{"no images", mnistNames[0], nil, []string{"train-images-idx3-ubyte"}},
		{"no test labels", mnistNames[3], nil, []string{"t10k-labels-idx1-ubyte"}},
		{"count", mnistNames[1], idxFile(t, 0x08, []int{2}, []uint8{1, 2}), []string{"2 labels for the 3 samples", mnistNames[0]}},
		{"labels for images", mnistNames[0], idxFile(t, 0x08, []int{3}, []uint8{5, 0, 4}), []string{"want [N, ...]"}},
		{"images for labels", mnistNames[3], idxFile(t, 0x08, []int{2, 2, 2}, count[uint8](8)), []string{"want integers of shape [N]"}},
		{"other size", mnistNames[2], idxFile(t, 0x08, []int{2, 3, 3}, count[uint8](18)), []string{"[2 2]", "[3 3]"}},
		{"cut short", mnistNames[2], idxFile(t, 0x08, []int{2, 2, 2}, count[uint8](7)), []string{"8 bytes", "the file has 7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := idxDir(t, mnistNames)
			path := filepath.Join(dir, c.file)
			var err error
			if c.content == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, c.content, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = data.OpenIDXDir(dir)
			wantFileError(t, err, dir, c.parts...)
			if c.content == nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v is not ErrNotExist", err)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	split, err := data.Open("digits:train=30,test=20,seed=5")
	if err != nil {
		t.Fatal(err)
	}
	if split.Train.Len() != 30 || split.Test.Len() != 20 {
		t.Errorf("digits: %d and %d samples", split.Train.Len(), split.Test.Len())
	}
	for _, source := range []string{
		"digits:", "digits:train", "digits:train=x", "digits:tests=1", "digits:train=0", "digits:test=-1",
		"digits:train=99999999999", filepath.Join(t.TempDir(), "none"), writeFile(t, "x.csv", []byte("1,2")),
	} {
		if _, err := data.Open(source); err == nil {
			t.Errorf("%s opened", source)
		}
	}
	_, path, err := npzSplit(t, map[string]*data.Array{"x": byteImages(1, 1), "y": classes(0)})
	if err != nil {
		t.Fatal(err)
	}
	if split, err := data.Open(path); err != nil || split.Train.Len() != 1 {
		t.Errorf("npz: %v", err)
	}
}

func TestMNIST(t *testing.T) {
	split, err := data.OpenIDXDir(sharedDir(t, "data/mnist"))
	if err != nil {
		t.Fatal(err)
	}
	if split.Train.Len() != 60000 || split.Test.Len() != 10000 || !slices.Equal(split.Train.Shape(), []int{28, 28}) {
		t.Errorf("%d and %d samples of shape %v", split.Train.Len(), split.Test.Len(), split.Train.Shape())
	}
	if err := split.CheckLabels(10); err != nil {
		t.Error(err)
	}
	norm, err := split.Normalize("auto")
	if want := (data.Norm{Scale: 1.0 / 255, Mean: 0.1307, Std: 0.3081}); err != nil || norm != want {
		t.Errorf("normalisation %+v, %v; want the usual %+v", norm, err, want)
	}
	images, labels := make([]float32, 10*784), make([]int64, 10)
	split.Train.Batch(images, labels, count[int](10))
	if want := []int64{5, 0, 4, 1, 9, 2, 1, 3, 1, 4}; !slices.Equal(labels, want) {
		t.Errorf("first labels %v, want %v", labels, want)
	}
}
