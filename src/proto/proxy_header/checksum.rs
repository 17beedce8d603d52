//! CRC32C, the checksum that a header of version 2 may carry (RFC 9260, appendix A).

/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of `bytes`. Headers are short and seldom have one, so that this goes bit by bit.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_known_vectors() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
        assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    }
}
