import Primitives

/// A sentence as a synthesizer reads it, or as it is put together from recordings.
enum SpokenSentence {
    private enum Limits {
        /// Beyond it a text is cut off when spelled: nobody would listen to the end.
        static let spelledCharacterCountMax = 60
        static let textByteCountMax = 2_000
    }

    /// One recording, or a rest.
    enum Piece: Hashable, Sendable {
        /// The name of its file without `.ulaw`.
        case recording(String)
        case pause(Duration)
    }

    /// The name of a phrase's recording: `emergency-call-from-extension`.
    static func recording(of phrase: SpeechPart.Phrase) -> String {
        phrase.rawValue.split(separator: " ").joined(separator: "-")
    }

    /// For a synthesizer: parts with commas between, figures one by one.
    static func text(_ parts: [SpeechPart]) -> String {
        var texts: [String] = []
        for part in parts {
            switch part {
            case .phrase(let phrase): texts.append(phrase.rawValue)
            case .digits(let digits):
                texts.append(digits.filter(isSpoken).map { String($0) }.joined(separator: " "))
            case .text(let text): texts.append(text)
            }
        }
        let text = texts.filter { !$0.isEmpty }.joined(separator: ", ")
        // Control characters mean something to synthesizers.
        let plain = text.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? " " : Character($0) }
        var bytes = 0
        return String(
            plain.prefix {
                bytes += $0.utf8.count
                return bytes <= Limits.textByteCountMax
            }) + "."
    }

    /// From the recordings there are: words that are recorded are spoken, others spelled, what cannot be spelled is
    /// left out.
    static func pieces(_ parts: [SpeechPart], available: Set<String>) -> [Piece] {
        var pieces: [Piece] = []
        for part in parts {
            var spoken: [Piece] = []
            switch part {
            case .phrase(let phrase):
                let name = recording(of: phrase)
                spoken = available.contains(name) ? [.recording(name)] : spell(phrase.rawValue, available)
            case .digits(let digits): spoken = spell(digits, available)
            case .text(let text): spoken = spell(text, available)
            }
            guard !spoken.isEmpty else { continue }
            if !pieces.isEmpty { pieces.append(.pause(.milliseconds(300))) }
            pieces += spoken
        }
        return pieces
    }

    private static func spell(_ text: String, _ available: Set<String>) -> [Piece] {
        var pieces: [Piece] = []
        var count = 0
        for word in text.lowercased().split(whereSeparator: { !isSpoken($0) }) {
            if !pieces.isEmpty { pieces.append(.pause(.milliseconds(150))) }
            if available.contains(String(word)) {
                pieces.append(.recording(String(word)))
                continue
            }
            for character in word where available.contains(String(character)) {
                count += 1
                guard count <= Limits.spelledCharacterCountMax else { return pieces }
                pieces.append(.recording(String(character)))
            }
        }
        return pieces
    }

    /// Digits and letters of ASCII.
    private static func isSpoken(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber)
    }
}
