// Support — bytes of texts.

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A condition as it is: `#expect` takes apart what it is given, which spans and noncopyable values do not bear.
func holds(_ condition: Bool) -> Bool { condition }
