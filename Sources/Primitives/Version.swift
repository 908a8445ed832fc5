/// The version of the whole product.
package enum Version {
    package static let text = "0.1.0"
}
