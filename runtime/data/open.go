package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Open opens a data set by what a command line says:
//
//	digits                              the built-in generated set, 10,000 + 2,000 images, seed 0
//	digits:train=5000,test=500,seed=3   the same with other numbers (any of the three)
//	FILE.npz                            see [OpenNPZ]
//	FOLDER                              see [OpenIDXDir]
//
// A folder named digits is opened as ./digits.
func Open(source string) (*Split, error) {
	if source == "digits" || strings.HasPrefix(source, "digits:") {
		config, err := parseDigits(source)
		if err != nil {
			return nil, err
		}
		return Digits(config)
	}
	info, err := os.Stat(source)
	if err != nil {
		return nil, fmt.Errorf("data: %w; give a folder of idx files, an .npz file, or digits", err)
	}
	if info.IsDir() {
		return OpenIDXDir(source)
	}
	if strings.HasSuffix(source, ".npz") {
		return OpenNPZ(source)
	}
	return nil, &FileError{Path: source, Problem: "neither a folder nor an .npz file", Cure: "give the folder that holds the idx files, an .npz file, or digits"}
}

// parseDigits reads "digits" and "digits:key=value,...".
func parseDigits(source string) (DigitsConfig, error) {
	config := DigitsConfig{Train: 10000, Test: 2000}
	_, options, given := strings.Cut(source, ":")
	if !given {
		return config, nil
	}
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "train":
			config.Train, err = strconv.Atoi(value)
		case "test":
			config.Test, err = strconv.Atoi(value)
		case "seed":
			config.Seed, err = strconv.ParseUint(value, 10, 64)
		default:
			err = errors.New("unknown key")
		}
		if err != nil {
			return config, fmt.Errorf("data: %s: option %q: %w; use train=N, test=N, seed=N", source, option, err)
		}
	}
	return config, nil
}

// The parts of the names that the files of an MNIST-style data set go by, in the order in which they are tried.
var (
	idxTrain  = []string{"train"}
	idxTest   = []string{"t10k", "test"}
	idxImages = []string{"-images-idx3-ubyte", "-images.idx3-ubyte"}
	idxLabels = []string{"-labels-idx1-ubyte", "-labels.idx1-ubyte"}
	idxSuffix = []string{"", ".gz"}
)

// OpenIDXDir opens the four files of an MNIST-style data set in a folder: images and labels for training ("train") and
// test ("t10k" or "test"), as PART-images-idx3-ubyte or PART-images.idx3-ubyte, plain or .gz.
func OpenIDXDir(dir string) (*Split, error) {
	train, err := openIDXPair(dir, idxTrain)
	if err != nil {
		return nil, err
	}
	test, err := openIDXPair(dir, idxTest)
	if err != nil {
		return nil, err
	}
	return newSplit(dir, train, test)
}

func openIDXPair(dir string, parts []string) (*Dataset, error) {
	images, err := findIDX(dir, parts, idxImages)
	if err != nil {
		return nil, err
	}
	labels, err := findIDX(dir, parts, idxLabels)
	if err != nil {
		return nil, err
	}
	x, err := ReadIDX(images)
	if err != nil {
		return nil, err
	}
	y, err := ReadIDX(labels)
	if err != nil {
		return nil, err
	}
	return newDataset(images, x, labels, y)
}

// findIDX returns the first of the usual names that exists in dir.
func findIDX(dir string, parts, kinds []string) (string, error) {
	for _, part := range parts {
		for _, kind := range kinds {
			for _, suffix := range idxSuffix {
				path := filepath.Join(dir, part+kind+suffix)
				_, err := os.Stat(path)
				if err == nil {
					return path, nil
				}
				if !errors.Is(err, fs.ErrNotExist) {
					return "", fmt.Errorf("data: %w; check the folder's permissions", err)
				}
			}
		}
	}
	return "", &FileError{
		Path:    dir,
		Problem: fmt.Sprintf("no file %s%s or %s%s, plain or .gz", parts[0], kinds[0], parts[0], kinds[1]),
		Cure:    "give the folder that holds the four files of an MNIST-style data set",
		Err:     fs.ErrNotExist,
	}
}

// OpenNPZ opens a data set in an .npz file: samples x_train [N, ...] and integer labels y_train [N], with x_test and
// y_test or without, or samples x and labels y alone, which make a training set.
func OpenNPZ(path string) (*Split, error) {
	arrays, err := ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	pair := func(xName, yName string) (*Dataset, error) {
		x, y := arrays[xName], arrays[yName]
		if x == nil || y == nil {
			return nil, &FileError{
				Path:    path,
				Problem: fmt.Sprintf("no arrays %s and %s", xName, yName),
				Cure:    "store x_train, y_train, x_test, y_test, or x and y",
			}
		}
		return newDataset(path+"("+xName+")", x, path+"("+yName+")", y)
	}
	if arrays["x"] != nil {
		train, err := pair("x", "y")
		if err != nil {
			return nil, err
		}
		return newSplit(path, train, nil)
	}
	train, err := pair("x_train", "y_train")
	if err != nil {
		return nil, err
	}
	if arrays["x_test"] == nil && arrays["y_test"] == nil {
		return newSplit(path, train, nil)
	}
	test, err := pair("x_test", "y_test")
	if err != nil {
		return nil, err
	}
	return newSplit(path, train, test)
}

// newSplit checks that both sets hold samples of one shape and kind; test may be nil.
func newSplit(source string, train, test *Dataset) (*Split, error) {
	if test != nil && !slices.Equal(train.shape, test.shape) {
		return nil, &FileError{Path: source, Problem: fmt.Sprintf("training samples have shape %v, test samples %v", train.shape, test.shape), Cure: "take both from the same data set"}
	}
	if test != nil && (train.bytes == nil) != (test.bytes == nil) {
		return nil, &FileError{Path: source, Problem: "only one of training and test samples is uint8", Cure: "store both as the same type"}
	}
	return &Split{Train: train, Test: test}, nil
}
