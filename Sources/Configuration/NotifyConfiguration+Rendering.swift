extension NotifyConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[notify]")
        table.add("escalation-after", escalationAfter)
        table.add("tries", tries)
        table.add("retry-after", retryAfter)
        table.add("key", text: String(key))
        table.add("repetitions", repetitions)
        table.add("tests", "\(tests)")
        if let smtp { table.add("smtp", smtp.rendered) }
        return table
    }
}

extension NotifyConfiguration.SMTP {
    fileprivate var rendered: RenderedTable {
        var table = RenderedTable("")
        table.add("server", text: server)
        table.add("port", port)
        table.add("tls", text: security.rawValue)
        table.add("from", text: from)
        if let credentials {
            table.add("username", text: credentials.username)
            table.add(credentials.password)
        }
        if let authorities { table.add(authorities, file: "ca-file") }
        return table
    }
}

extension NotifyConfiguration.Contact {
    var rendered: RenderedTable {
        var table = RenderedTable("[notify.contacts.\(TOMLText.key(name))]")
        switch way {
        case .station(let station): table.add("station", text: station)
        case .number(let number, let trunks):
            table.add("number", text: number)
            if !trunks.isEmpty { table.add("trunks", TOMLText.array(trunks)) }
        case .paging(let uri, let realm):
            table.add("paging", text: uri)
            table.add("realm", text: realm)
        case .multicast(let group, let realm):
            table.add("multicast", text: "\(group)")
            table.add("realm", text: realm)
        case .email(let addresses): table.add("email", TOMLText.array(addresses))
        case .webhook(let webhook):
            table.add("webhook", text: webhook.url)
            if let secret = webhook.secret { table.add(secret, key: "secret") }
            if let authorities = webhook.authorities { table.add(authorities, file: "ca-file") }
        }
        table.add("level", level)
        if !sites.isEmpty { table.add("sites", TOMLText.array(sites)) }
        return table
    }
}

extension RenderedTable {
    /// A file named by path; what it holds makes a difference.
    fileprivate mutating func add(_ content: Secret, file key: String) {
        let path = TOMLText.string(content.file ?? "")
        add(Entry(key, path, identity: path + content.revealed))
    }
}
